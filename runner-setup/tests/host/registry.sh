# Sourced: a registry on $GATEWAY:5000 that serves as the hosts' mirror of Docker Hub, with two images.

# Fetch a package's files without installing it: nothing of it starts on this machine.
unpack_package() {
  [ -d "$CACHE/packages/$1" ] && return
  mkdir -p "$CACHE/packages/deb"
  (cd "$CACHE/packages/deb" && apt-get download -qq "$1" 2>"$CACHE/apt.log") ||
    { apt-get update -qq && (cd "$CACHE/packages/deb" && apt-get download -qq "$1" 2>"$CACHE/apt.log"); }
  dpkg-deb --extract "$CACHE/packages/deb/$1"_*.deb "$CACHE/packages/$1"
}

# An image that no other registry has, made of busybox, and a stand-in of the container that testcontainers cleans up with.
fill_registry() {
  local root=$CACHE/images applet library
  rm -rf "$root"
  mkdir -p "$root/bin" "$root/tmp"
  cp "$CACHE/packages/busybox-static/bin/busybox" "$root/bin/"
  for applet in $("$root/bin/busybox" --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
  done
  push_image "$root" library/thebes-small:latest 'CMD ["sh"]'
  cp /usr/bin/docker tests/doubles/ryuk "$root/bin/"
  for library in $(ldd /usr/bin/docker | grep -o '/[^ )]*'); do
    mkdir -p "$root$(dirname "$library")"
    cp --dereference "$library" "$root$library"
  done
  push_image "$root" "testcontainers/ryuk:$RYUK_VERSION" 'CMD ["/bin/ryuk"]' 'EXPOSE 8080'
}

# Usage: push_image FOLDER NAME CHANGE …
push_image() {
  local folder=$1 name=$GATEWAY:5000/$2 change changes=()
  shift 2
  for change in "$@"; do changes+=(--change "$change"); done
  tar -C "$folder" -c . | /usr/bin/docker import "${changes[@]}" - "$name" >"$CACHE/import.log"
  /usr/bin/docker push --quiet "$name" >"$CACHE/import.log"
}

start_registry() {
  RYUK_VERSION=$("$VENV/bin/python" -c 'from testcontainers.core.config import testcontainers_config as c; print(c.ryuk_image.partition(":")[2])')
  unpack_package docker-registry
  unpack_package busybox-static
  rm -rf "$CACHE/registry"
  cat >"$CACHE/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $CACHE/registry}}
http: {addr: "$GATEWAY:5000", tls: {certificate: $FILES/server.crt, key: $FILES/server.key}}
YAML
  "$CACHE/packages/docker-registry/usr/bin/docker-registry" serve "$CACHE/registry.yml" >"$CACHE/registry.log" 2>&1 9>&- &
  REGISTRY=$!
  until (: <"/dev/tcp/$GATEWAY/5000") 2>/dev/null; do
    kill -0 $REGISTRY 2>/dev/null || { tail -3 "$CACHE/registry.log" >&2; exit 1; }
    sleep 0.1
  done
  fill_registry
}
