#!/usr/bin/env bash
# Runs in the machine that run.sh boots: what `make demo` and the stops of `make e2e` do.
set -euo pipefail
on_exit() { status=$?; [ $status = 0 ] && echo "vm-test: passed" || { echo "vm-test: failed"; tail -n 20 /var/lib/essential-containers/vm/logs/* 2>/dev/null; }; }

echo "vm-test: $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r), $(systemctl --version | head -1), $(runc --version | head -1)"
echo "vm-test: cgroups $(stat -fc %T /sys/fs/cgroup), AppArmor enabled: $(cat /sys/module/apparmor/parameters/enabled), XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-}"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]
export GOROOT=/usr/local/go GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local
before=$(sysctl -a 2>/dev/null | grep -E '^(kernel.panic|kernel.panic_on_oops|vm.overcommit_memory|vm.panic_on_oom) ')

cluster() { bin/cluster --bin-dir=bin --name=vm "$@"; }
# Minutes without a word would look like a machine that hangs.
(while sleep 120; do tail -qn 1 /var/lib/essential-containers/vm/logs/*.log 2>/dev/null | cut -c1-200; done) &
progress=$!
trap 'on_exit; kill $progress' EXIT
cluster up
cluster load bin/image.tar
export KUBECONFIG=/var/lib/essential-containers/vm/kubeconfig HELM=/src/bin/helm HELM3=/src/bin/helm3 KUBECTL=/src/bin/kubectl
echo "vm-test: the demo"
bin/demo --local --kubeconfig="$KUBECONFIG" --image="$IMG" --helm="$HELM" --chart=charts/essential-containers
for namespace in essential-containers-demo essential-containers-demo-plain; do "$KUBECTL" delete namespace $namespace --timeout=10m; done
echo "vm-test: the stops"
(cd test/e2e && ../../bin/e2e.test -test.v -test.parallel=2 -test.timeout=4h -test.run="${RUN:-TestEndToEnd/Stops}")
cluster down
echo "vm-test: what the cluster leaves behind"
[ "$before" = "$(sysctl -a 2>/dev/null | grep -E '^(kernel.panic|kernel.panic_on_oops|vm.overcommit_memory|vm.panic_on_oom) ')" ]
[ -z "$(findmnt -rno TARGET | grep essential-containers)" ]
