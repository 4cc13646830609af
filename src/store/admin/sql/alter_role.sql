-- PostgreSQL takes no parameters here: see create_role
alter role {role} password '{hash}'
