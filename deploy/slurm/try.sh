#!/bin/bash
# Tries worker.sbatch and scale.sh with a Slurm of its own on this machine. It takes about a minute.
#
#   try.sh PARHOST
#
# PARHOST is the executable. Slurm, munge and jq have to be installed: apt-get install slurmctld slurmd slurm-client munge jq. All files, the key of munge
# and the ports are this script's own. It ends the processes that it has started, and no others. The workers run without a sandbox, so that the script
# also works where there is none.
set -euo pipefail

parhost=$(realpath "${1:?say where the parhost executable is}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch srun jq; do
	command -v "$program" >/dev/null || { echo "try: $program is not installed" >&2; exit 2; }
done

dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
clean() {
	local code=$?
	trap - EXIT INT TERM
	if ((code != 0)); then
		tail -n 20 "$dir"/*.log >&2 || true
	fi
	# Jobs first: what Slurm has started for them is not a child of this script.
	if [[ -n $(timeout 5 squeue --noheader 2>/dev/null) ]]; then
		timeout 5 scancel --user="$(id -un)" || true
		for _ in {1..80}; do
			[[ -n $(timeout 5 squeue --noheader 2>/dev/null) ]] || break
			sleep 0.5
		done
	fi
	local i
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		kill "${pids[i]}" 2>/dev/null || true
		wait "${pids[i]}" 2>/dev/null || true
	done
	rm -rf "$dir"
	exit "$code"
}
trap clean EXIT
trap 'exit 130' INT TERM

# free prints a port at which nothing listens.
free() {
	local port
	while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	echo "$port"
}

# until_true waits for a command to succeed, for as many seconds as the first argument says.
until_true() {
	local seconds=$1 end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || { echo "try: not within $seconds s: $*" >&2; return 1; }
		sleep 0.3
	done
}

# munge signs what the parts of Slurm say to each other.
install -d -m 700 "$dir/munge"
(umask 077 && head -c 128 /dev/urandom >"$dir/munge/key")
munged --foreground --force --key-file="$dir/munge/key" --socket="$dir/munge.socket" --pid-file="$dir/munge/pid" --log-file="$dir/munge.log" \
	--seed-file="$dir/munge/seed" >"$dir/munged.log" 2>&1 &
pids+=($!)
until_true 10 test -S "$dir/munge.socket"

host=$(hostname -s)
cat >"$dir/slurm.conf" <<EOF
ClusterName=try
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free)
SlurmdPort=$(free)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000
PartitionName=try Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF
mkdir "$dir/state" "$dir/spool"
export SLURM_CONF=$dir/slurm.conf
slurmctld -D -f "$SLURM_CONF" >"$dir/slurmctld.out.log" 2>&1 &
pids+=($!)
slurmd -D -f "$SLURM_CONF" -N "$host" >"$dir/slurmd.out.log" 2>&1 &
pids+=($!)
idle() { [[ $(sinfo --noheader --format=%T 2>/dev/null) == idle ]]; }
until_true 30 idle
echo "try: Slurm is there: $(sinfo --noheader --format='%N %T %c CPUs')"

port=$(free)
"$parhost" serve --listen "127.0.0.1:$port" --store "$dir/store" >"$dir/serve.log" 2>&1 &
pids+=($!)
export PARHOST=$parhost PARHOST_CLUSTER=nats://127.0.0.1:$port PARHOST_SANDBOX=off
queue() { "$parhost" queue --cluster "$PARHOST_CLUSTER" --pool "${PARHOST_POOL:-default}" --json; }
nodes() { [[ $(queue 2>/dev/null | jq .nodes) == "$1" ]]; }
until_true 10 nodes 0

cd "$dir"
logs=(--output="$dir/worker-%A_%a.log" --mem-per-cpu=100M)

# An array of workers, whose time ends in a minute.
job=$(sbatch --parsable --array=1-2 --time=1 --signal=TERM@20 "${logs[@]}" "$here/worker.sbatch")
until_true 15 nodes 2
echo "try: two workers are nodes"
"$parhost" --plugin sqrt --range 0:1000 --output values >"$dir/here" 2>/dev/null
"$parhost" --plugin sqrt --range 0:1000 --output values --cluster "$PARHOST_CLUSTER" >"$dir/there" 2>"$dir/submit.log"
cmp "$dir/here" "$dir/there"
echo "try: a job of 1000 items has the results that it has here"
until_true 90 nodes 0
ended() { [[ $(scontrol --oneliner show job "$job" | grep -c 'JobState=COMPLETED .* ExitCode=0:0') == 2 ]]; }
until_true 15 ended
echo "try: SIGTERM before the end of their time ended both workers with 0"

# Workers by need.
export PARHOST_POOL=scaled
"$here/scale.sh" 3 "${logs[@]}"
[[ -z $(squeue --noheader) ]]
"$parhost" --plugin sleep --cluster "$PARHOST_CLUSTER" --pool scaled --job-id try --output none --repeat 60 0.5 >"$dir/submit2.log" 2>&1 &
submitter=$!
pids+=("$submitter")
waits() { (($(queue | jq .waiting) > 6)); }
until_true 15 waits
"$here/scale.sh" 3 "${logs[@]}"
until_true 15 nodes 3
"$here/scale.sh" 3 "${logs[@]}"
[[ $(squeue --noheader --array | wc -l) == 3 ]]
wait "$submitter"
echo "try: a job that waited for workers got three and is done"
"$here/scale.sh" 3 "${logs[@]}"
until_true 40 nodes 0
none() { [[ -z $(squeue --noheader) ]]; }
until_true 40 none
echo "try: without work, the workers ended"
