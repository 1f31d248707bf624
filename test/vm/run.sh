#!/usr/bin/env bash
# Boots an ordinary Debian (systemd, cgroup v2, AppArmor) in an emulated machine and
# runs inside.sh in it. Nothing is compiled in there: emulation is some 20 times slower.
# Called by make vm-test, which has built all programs. Usage: run.sh BIN IMAGE ARCHIVE
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1 image=$2 archive=$3 vm=$1/vm suite=bookworm
mkdir -p "$vm"

for command in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap; do
	command -v "${command%%:*}" >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends "${command##*:}" seabios; }
done

# What test/cluster would install is in there already: the machine has no network.
packages=systemd,systemd-sysv,dbus,libpam-systemd,apparmor,linux-image-cloud-amd64,ca-certificates,procps,kmod
packages+=,iproute2,nftables,runc,mount,busybox-static,buildah,gcc,libc6-dev,git
if [ ! -e "$vm/root/complete" ]; then
	echo "vm-test: installing Debian $suite into a folder, some minutes"
	rm -rf "$vm/root"
	mmdebstrap --quiet --variant=important --include="$packages" "$suite" "$vm/root"
	touch "$vm/root/complete"
fi

echo "vm-test: building the disk"
root=$vm/root src=$vm/root/src parts=$vm/root/root/.cache/essential-containers/parts
rm -rf "$src" "$parts" "$vm/root/root/go" "$vm/root/usr/local/go"
mkdir -p "$src/bin" "$parts" "$root/usr/local/go/bin"
git ls-files -z | tar -c --null --files-from=- | tar -x -C "$src"
CGO_ENABLED=0 go build -o "$src/bin/" ./test/cluster ./test/demo
CGO_ENABLED=0 go test -c -tags=e2e -o "$src/bin/e2e.test" ./test/e2e
cp "$archive" "$src/bin/image.tar"
for program in "$bin"/*; do
	target=$(readlink -f "$program")
	case $target in */essential-containers/parts/*) cp -r --no-clobber "$(dirname "$target")" "$parts/" ;; esac
done
cache=${XDG_CACHE_HOME:-$HOME/.cache}/essential-containers/parts
cp "$cache"/image-*.tar "$parts/" 2>/dev/null || true
# The cluster asks Go where the module of cert-manager is.
modules=$(go env GOMODCACHE) certmanager=$(go -C test/cluster/parts/certmanager list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)
cp "$(go env GOROOT)/bin/go" "$root/usr/local/go/bin/"
cp "$(go env GOROOT)"/{VERSION,go.env} "$root/usr/local/go/"
(cd "$modules" && { find cache/download \( -name '*.mod' -o -name '*.info' -o -name '*.ziphash' \) -print0; find "${certmanager#"$modules/"}" -print0; } |
	tar -c --null --no-recursion --files-from=-) | { mkdir -p "$root/root/go/pkg/mod" && tar -x -C "$root/root/go/pkg/mod"; }

cat >"$root/etc/systemd/system/vm-test.service" <<UNIT
[Unit]
After=multi-user.target
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
User=root
PAMName=login
WorkingDirectory=/src
Environment=HOME=/root IMG=$image TIME_FACTOR=${TIME_FACTOR:-20} PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/src/test/vm/inside.sh
TimeoutStartSec=infinity
StandardOutput=journal+console
StandardError=inherit
UNIT
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -sf /etc/systemd/system/vm-test.service "$root/etc/systemd/system/default.target.wants/"
rm -f "$vm/disk.img"
truncate -s 20G "$vm/disk.img"
mke2fs -q -t ext4 -d "$root" "$vm/disk.img"

echo "vm-test: booting; the output is in $vm/console.log too"
qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -cpu max -smp 2 -m 4096 -nic none -nographic -no-reboot \
	-kernel "$root"/boot/vmlinuz-* -initrd "$root"/boot/initrd.img-* -append "root=/dev/vda rw console=ttyS0 no_timer_check panic=-1 systemd.show_status=false quiet" \
	-drive "file=$vm/disk.img,format=raw,if=virtio,cache=unsafe" </dev/null | stdbuf -oL tr -d '\r' | tee "$vm/console.log"
rm -f "$vm/disk.img"
grep -q 'vm-test: passed$' "$vm/console.log"
