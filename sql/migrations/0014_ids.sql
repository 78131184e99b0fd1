-- Customers as ids are compared: in Unicode's composed form. Documents keep them as they were printed.

insert or ignore into parked
    select month, trim(nfc_normalize(customer)), seq, reason
    from parked
    where customer <> trim(nfc_normalize(customer));

delete from parked where customer <> trim(nfc_normalize(customer));

update invoice set customer = trim(nfc_normalize(customer)) where customer <> trim(nfc_normalize(customer));
