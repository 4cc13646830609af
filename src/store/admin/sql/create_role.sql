-- PostgreSQL takes no parameters here, so the program puts the name, which it has checked, and a SCRAM
-- verifier of the password into the text.
create role {role} login nosuperuser nocreatedb nocreaterole noinherit noreplication
    password '{hash}'
