-- The terms of a closing, once for all closings that were made by them.
insert or ignore into terms values ($sha256, $seq, $document)
