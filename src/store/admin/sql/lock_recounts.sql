-- Waits for users that are being added, and keeps other sessions from counting. Readers do not wait.
lock table recounts in exclusive mode
