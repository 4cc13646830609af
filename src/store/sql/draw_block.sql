-- Draws a block of places in the decision order, under all locks of the batch. Later statements of the
-- transaction number their rows inside it.
select nextval('decision_block')
