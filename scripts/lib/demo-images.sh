#!/usr/bin/env bash
# Builds the demo images from Debian packages, for machines that cannot reach an image registry: nginx (two
# versions, to roll over between) and busybox; and serves them from a registry on this machine.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
as_root
need_packages docker-registry
registry=127.0.0.1:$REGISTRY_PORT

mkdir -p "$DATA_DIR/run" "$DATA_DIR/log" "$DATA_DIR/registry"
if ! curl -fsS "http://$registry/v2/" >/dev/null 2>&1; then
  say "serving images at $registry"
  cat >"$DATA_DIR/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $DATA_DIR/registry}}
http: {addr: "$registry"}
YAML
  setsid docker-registry serve "$DATA_DIR/registry.yml" >"$DATA_DIR/log/registry.log" 2>&1 </dev/null &
  echo $! >"$DATA_DIR/run/registry.pid"
  within_30s curl -fsS "http://$registry/v2/"
fi
curl -fsS "http://$registry/v2/library/nginx/tags/list" 2>/dev/null | grep -q latest && exit 0

say "building the demo images from Debian packages"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/packages/partial" "$work/nginx" "$work/busybox/bin"
: >"$work/status"   # an empty package status: apt brings everything that nginx stands on
apt-get update -qq
apt-get -y -qq -o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/packages" -o Debug::NoLocking=1 \
  -o APT::Sandbox::User=root install --download-only --no-install-recommends nginx busybox-static >/dev/null
for package in "$work"/packages/*.deb; do dpkg -x "$package" "$work/nginx"; done
cd "$work/nginx"
rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/perl5 usr/share/lintian var/log/nginx/*
mv bin/busybox "$work/busybox/bin/"
for name in "$work/busybox" .; do
  mkdir -p "$name/bin" "$name/etc" "$name/tmp" "$name/var/log/nginx" "$name/run"
  cp "$work/busybox/bin/busybox" "$name/bin/" 2>/dev/null || true
  for applet in $("$work/busybox/bin/busybox" --list); do
    [ -e "$name/bin/$applet" ] || ln -s busybox "$name/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\nnobody:x:65534:65534::/:/bin/false\n' >"$name/etc/passwd"
  printf 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$name/etc/group"
done
cp "$ROOT/scripts/demo/nginx.conf" etc/nginx/nginx.conf
ln -sf /dev/stdout var/log/nginx/access.log
ln -sf /dev/stderr var/log/nginx/error.log

publish() { # context directory, image, Dockerfile lines
  printf 'FROM scratch\nADD . /\n%s\n' "$3" >"$work/Dockerfile"
  DOCKER_BUILDKIT=0 docker build -q -f "$work/Dockerfile" -t "$registry/library/$2" "$1" >/dev/null 2>&1
  docker push -q "$registry/library/$2" >/dev/null
  docker image rm "$registry/library/$2" >/dev/null
}
for version in 1.22 latest; do
  printf '<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n<p>image nginx:%s</p>\n' "$version" \
    >usr/share/nginx/html/index.html
  publish . "nginx:$version" 'EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["/usr/sbin/nginx", "-g", "daemon off;"]'
done
publish "$work/busybox" busybox:latest 'ENV PATH=/bin
CMD ["sh"]'
