-- Schema 2: what an intent's balance events come to is found without a scan, by the settlement audit beside the work.

CREATE INDEX balance_event_of_intent ON balance_event (intent_id) WHERE intent_id IS NOT NULL;
