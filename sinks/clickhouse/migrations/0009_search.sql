-- Finds the words of a search among events: names, addresses, invoice and order numbers, event types. A filter of a granule
-- says which words are surely not in it, so that a word which few events have costs little to find. It keeps bits, no text.
-- Rows of before get it when their parts are merged, or at once by ALTER TABLE events MATERIALIZE INDEX by_words; they are found without it.

ALTER TABLE events ADD INDEX IF NOT EXISTS by_words
    lowerUTF8(concat(contact_key, ' ', payer_full_name, ' ', payer_given_name, ' ', payer_surname, ' ', invoice_id, ' ', custom_id, ' ', root_id, ' ', event_type))
    TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 1;
