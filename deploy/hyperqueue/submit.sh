#!/bin/sh
# Submits N workers to HyperQueue, one task each, which it places on the machines that run hq worker.
#
#   PARHOST_CLUSTER=nats://10.0.0.1:4222 submit.sh N
#
# Change CPUS below, which is the number of CPUs of a worker and of batches that it runs at once, and add what your cluster needs: --key, --tls-cert,
# --tls-key, --tls-ca, --allow. Each file has to be on every machine. To end all of them: hq job cancel JOB.
#
# HyperQueue 0.27 ends a task with SIGINT, and a second later with SIGKILL. So --grace is short: a worker gives back what it runs, and others begin it anew.
set -eu

: "${1:?say how many workers}" "${PARHOST_CLUSTER:?say where the cluster is, such as nats://10.0.0.1:4222}"
CPUS=2

exec hq submit --name parhost-worker --array "1-$1" --cpus "$CPUS" -- \
	"${PARHOST:-parhost}" worker --cluster "$PARHOST_CLUSTER" --pool "${PARHOST_POOL:-default}" --procs "$CPUS" --sandbox strict --grace 500ms
