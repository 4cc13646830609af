# shellcheck shell=bash
#
# Sourced by `dev`: an authority, and a certificate of its for the engines' TLS listeners, made anew
# for every run.

# The certificate is for the name `localhost` alone, so that a test has a wrong name in 127.0.0.1.
make_certificates() {
  local dir=$STATE/tls name
  mkdir -m 711 "$dir"
  for name in authority stranger; do
    cat >"$dir/$name.cnf" <<END
[req]
distinguished_name = subject
x509_extensions = extensions
prompt = no
[subject]
CN = Holdfast development: $name
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
END
    openssl req -x509 -days 30 -config "$dir/$name.cnf" "${NEW_KEY[@]}" \
      -keyout "$dir/$name.key" -out "$dir/$name.pem"
  done
  openssl req -new -subj /CN=localhost -config "$dir/authority.cnf" "${NEW_KEY[@]}" \
    -keyout "$dir/server.key" -out "$dir/server.csr"
  echo 'subjectAltName = DNS:localhost' >"$dir/server.cnf"
  openssl x509 -req -days 30 -in "$dir/server.csr" -extfile "$dir/server.cnf" -out "$dir/server.pem" \
    -CA "$dir/authority.pem" -CAkey "$dir/authority.key" -CAcreateserial
  chmod 644 "$dir"/*.pem
}
readonly NEW_KEY=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
