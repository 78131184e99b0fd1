-- The deeds of an older store were made from its journal.
delete from deeds_lacking
