-- Up to which record an older store has no deeds; no row where none is lacking.
select up_to from deeds_lacking
