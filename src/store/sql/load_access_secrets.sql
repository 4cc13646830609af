-- The secrets that workers have started with: there are a few.
select id, fingerprint from access_secrets
