#!/bin/sh
# Makes configuration and keys on the first start, and hands each service only its part: the hub the public half of the
# assertion's key and the token of its routes, the portal its app key. Run again, it changes nothing.
#
# From the environment: PUBLIC_URL, HUB_URL; ETC_DIR, HUB_SHARE_DIR, PORTAL_SHARE_DIR (defaults: the volumes of compose.yaml).
set -eu

etc=${ETC_DIR:-/etc/hublatch}
hub=${HUB_SHARE_DIR:-/share/hub}
portal=${PORTAL_SHARE_DIR:-/share/portal}

# What init prints holds the app key, and containers' output is kept.
[ -e "$etc/hublatch.toml" ] || hublatch init --dir "$etc" --public-url "$PUBLIC_URL" --hub-url "$HUB_URL" >/dev/null

# For compose-proxy.yaml: what the hub proves itself with when it writes its routes into hublatch.
[ -e "$etc/routes.token" ] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$etc/routes.token")

# For compose-replicas.yaml, the only one that mounts this volume.
if [ -d /share/redis ]; then
  [ -e "$etc/redis.password" ] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$etc/redis.password")
  cat "$etc/redis.password" >/share/redis/redis.password
  chmod 644 /share/redis/redis.password
fi

# Each volume is mounted by one service, which runs under another uid: readable for all who have the volume.
cat "$etc/assertion.pub.pem" >"$hub/assertion.pub.pem"
cat "$etc/routes.token" >"$hub/routes.token"
cat "$etc/app.key" >"$portal/app.key"
chmod 644 "$hub/assertion.pub.pem" "$hub/routes.token" "$portal/app.key"
