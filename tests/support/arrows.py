"""The arrows between the states of a copy, written out by hand: what is not here must not be possible."""

ARROWS = {
    # nothing was sent
    ("PLANNED", "SUBMITTING"),
    ("PLANNED", "SKIPPED"),
    ("PLANNED", "STALE"),
    ("PLANNED", "FAILED"),  # a halt kept it in; a person may copy it later
    # the answer to an attempt
    ("SUBMITTING", "ACKED"),
    ("SUBMITTING", "FILLED"),  # the answer carried all fills
    ("SUBMITTING", "PARTLY_FILLED"),
    ("SUBMITTING", "REJECTED"),
    ("SUBMITTING", "UNKNOWN"),
    ("SUBMITTING", "NOT_SENT"),
    ("SUBMITTING", "FAILED"),  # provably not sent, and not to be tried again
    # the second attempt
    ("NOT_SENT", "SUBMITTING"),
    ("NOT_SENT", "FAILED"),
    ("NOT_SENT", "UNKNOWN"),  # the first one shows at the exchange all the same
    # accepted: its fills are read back
    ("ACKED", "FILLED"),
    ("ACKED", "PARTLY_FILLED"),
    ("ACKED", "REJECTED"),
    ("ACKED", "NEEDS_PERSON"),
    # unknown: found, proven absent, or not decidable
    ("UNKNOWN", "ACKED"),
    ("UNKNOWN", "FILLED"),
    ("UNKNOWN", "PARTLY_FILLED"),
    ("UNKNOWN", "REJECTED"),
    ("UNKNOWN", "FAILED"),
    ("UNKNOWN", "NEEDS_PERSON"),
    # a person's decision, or the exchange shows it after all
    ("NEEDS_PERSON", "FILLED"),
    ("NEEDS_PERSON", "PARTLY_FILLED"),
    ("NEEDS_PERSON", "REJECTED"),
    ("NEEDS_PERSON", "FAILED"),
    # executed after its fence: corrected, never hidden
    ("FAILED", "FILLED"),
    ("FAILED", "PARTLY_FILLED"),
    ("FAILED", "NEEDS_PERSON"),  # it showed late, and never how it ended
}
