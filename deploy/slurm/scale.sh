#!/bin/bash
# Submits as many workers to Slurm as the batches of a pool need, and at most MAX. Run it by hand, or once a minute from cron or a systemd timer.
# It needs jq.
#
#   PARHOST_CLUSTER=nats://10.0.0.1:4222 scale.sh MAX [SBATCH-OPTION...]
#
# The variables are those of worker.sbatch. CPUS (default: 2) is the number of CPUs of a worker, and so of batches that it runs at once. Workers that
# are already there or wait for their turn count. If no batch waits or runs, the workers are told to end.
set -euo pipefail

max=${1:?say how many workers there may be}
shift
cpus=${CPUS:-2}
pool=${PARHOST_POOL:-default}
name=parhost-worker-$pool

ask=(--cluster "${PARHOST_CLUSTER:?say where the cluster is, such as nats://10.0.0.1:4222}" --pool "$pool" --json)
[[ -z ${PARHOST_KEY-} ]] || ask+=(--key "$PARHOST_KEY")
[[ -z ${PARHOST_TLS_CERT-} ]] || ask+=(--tls-cert "$PARHOST_TLS_CERT" --tls-key "$PARHOST_TLS_KEY")
[[ -z ${PARHOST_TLS_CA-} ]] || ask+=(--tls-ca "$PARHOST_TLS_CA")

batches=$("${PARHOST:-parhost}" queue "${ask[@]}" | jq -e '.waiting + .running')
there=$(squeue --noheader --array --me --name="$name" --states=PENDING,RUNNING,CONFIGURING --format=%A | wc -l)

need=$(((batches + cpus - 1) / cpus))
((need <= max)) || need=$max
echo "pool $pool: $batches batches, $there workers, $need needed"

if ((need > there)); then
	sbatch --parsable --job-name="$name" --cpus-per-task="$cpus" --array="1-$((need - there))" "$@" "$(dirname "${BASH_SOURCE[0]}")/worker.sbatch"
elif ((batches == 0 && there > 0)); then
	scancel --me --name="$name"
fi
