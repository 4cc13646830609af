-- Draws a block of places in the decision order, under all locks of the batch; what is written next
-- numbers its rows inside it.
select nextval('decision_block')
