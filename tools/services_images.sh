#!/bin/sh
# Those of the images postgres:15, postgres:99 (the same, to be caught) and redis:7 that the engine lacks, made of
# Debian 12's packages (root): no registry is needed, and no image that is not of this script is replaced.
set -eu
sum=$(sha256sum <"$0" | cut -c1-12)
missing=
for image in postgres:15 postgres:99 redis:7; do
  made_by=$(docker image inspect --format '{{index .Config.Labels "thebes.made-by"}}' "$image" 2>/dev/null) || made_by=none
  case $made_by in '' | "$sum") ;; *) missing="$missing $image" ;; esac
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" -eq 0 ] || { echo "to make the images$missing needs root" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command -v debootstrap >/dev/null || { apt-get update -qq && apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends debootstrap; }
debootstrap --variant=minbase --include=postgresql-15,redis-server bookworm "$folder/root" >"$folder/log" || { tail "$folder/log"; exit 1; }
cat >"$folder/root/entry.sh" <<'END'
#!/bin/sh
# As the official images: makes the data folder, sets the password, takes options.
set -e
if [ "$1" = redis-server ]; then
  shift
  exec redis-server --bind 0.0.0.0 --protected-mode no "$@"
fi
data=/var/lib/postgresql/data
as_postgres="setpriv --reuid=postgres --regid=postgres --clear-groups"
mkdir -p $data
chown postgres $data
printf %s "$POSTGRES_PASSWORD" >/tmp/password
$as_postgres initdb -D $data -U postgres --pwfile=/tmp/password --auth=scram-sha-256 --auth-local=trust
rm /tmp/password
echo "host all all all scram-sha-256" >>$data/pg_hba.conf
exec $as_postgres postgres -D $data -c listen_addresses='*' "$@"
END
chmod +x "$folder/root/entry.sh"
tar -C "$folder/root" -c . | docker import \
  --change 'ENTRYPOINT ["/entry.sh"]' \
  --change 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV LANG=C.UTF-8' \
  --change "LABEL thebes.made-by=$sum" \
  - thebes-services:15
for image in $missing; do docker tag thebes-services:15 "$image"; done
