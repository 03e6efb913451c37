# Sourced: a fake GitHub on $GATEWAY:8443, called github.test, with the mirror of its releases.

# GitHub, the mirror of its releases, an App's key and a certificate authority.
start_fake_github() {
  local files=$CACHE/files version
  rm -rf "$files"
  mkdir -p "$files/public"
  openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj "/CN=Thebes test CA" -addext keyUsage=critical,keyCertSign -keyout "$files/ca.key" \
    -out "$files/ca.crt" 2>"$CACHE/openssl.log"
  openssl req -newkey rsa:2048 -nodes -subj "/CN=github.test" -keyout "$files/server.key" -out "$files/server.csr" 2>>"$CACHE/openssl.log"
  printf 'subjectAltName=DNS:github.test,IP:%s\nbasicConstraints=CA:FALSE\n' $GATEWAY >"$files/server.ext"
  openssl x509 -req -days 7 -in "$files/server.csr" -CA "$files/ca.crt" -CAkey "$files/ca.key" -CAcreateserial \
    -extfile "$files/server.ext" -out "$files/server.crt" 2>>"$CACHE/openssl.log"
  openssl genrsa -out "$files/app.pem" 2048 2>>"$CACHE/openssl.log"
  openssl rsa -in "$files/app.pem" -pubout -out "$files/app.pub" 2>>"$CACHE/openssl.log"
  printf 'ghp_secret_of_the_tests\n' >"$files/token"
  version=$(sed -n 's/^runner_version: //p' roles/runner/defaults/main.yml)
  RUNNER_SHA256=$("$VENV/bin/python" tests/doubles/build_runner.py "$files/public/actions-runner-linux-x64-$version.tar.gz")
  cp "$files/public/actions-runner-linux-x64-$version.tar.gz" "$files/public/actions-runner-linux-arm64-$version.tar.gz"
  export RUNNER_SHA256 FILES=$files
  "$VENV/bin/python" tests/doubles/fake_github.py --host $GATEWAY --port 8443 --public-url https://github.test:8443 \
    --certificate "$files/server.crt" --key "$files/server.key" --app-public-key "$files/app.pub" \
    --token ghp_secret_of_the_tests --files "$files/public" 9>&- &
  FAKE=$!
}
