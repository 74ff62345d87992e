#!/usr/bin/env bash
# Entrypoint of the image, for docker, pyxis and enroot, and apptainer: finds folders that can be written, then becomes
# the program.
#
#   ldc-entrypoint                        python -m ldc.train --help
#   ldc-entrypoint train ARGUMENT...      python -m ldc.train ARGUMENT...   and so for each command in COMMANDS
#   ldc-entrypoint PROGRAM ARGUMENT...    PROGRAM ARGUMENT...
#
# LDC_NPROC (or NPROC) = processes on this node, or gpu for one a GPU: train is started by torchrun. On several nodes also
# NNODES, NODE_RANK (else SLURM_NODEID), MASTER_ADDR, MASTER_PORT. Where srun starts one task a GPU, leave LDC_NPROC unset;
# NPROC, which login nodes may have set for their own use, does not count in srun's tasks.
#
# The program replaces this shell (exec), so SIGTERM and SIGUSR1 reach it. All messages go to stderr: the last line of
# stdout is the command's summary.
set -euo pipefail

readonly COMMANDS="train prune quantize evaluate generate prepare profile ablate launch doctor sweep"
readonly COMPUTES="train quantize evaluate generate profile ablate sweep"
readonly SMALLEST_SHM_KB=$((1024 * 1024)) # docker gives 64 MB, which a few loader workers fill
readonly SIGNALS=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 # what torchrun hands on: without SIGUSR1, that would end it
readonly SAVE_SECONDS=300                 # what torchrun leaves its workers to save their state after a signal

say() { printf 'ldc: %s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 2
}
is_one_of() { [[ " $2 " == *" $1 "* ]]; }
is_writable() { mkdir -p -- "$1" 2>/dev/null && [[ -w $1 && -x $1 ]]; }

# A folder of this user's own where anything can be written at all; the same one for all processes of a node.
own_folder() {
  local base folder
  for base in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm "$PWD"; do
    folder=$base/ldc-home-$(id -u)
    [[ -d $folder ]] || mkdir -m 700 -- "$folder" 2>/dev/null || [[ -d $folder ]] || continue
    if [[ -O $folder && ! -L $folder && -w $folder ]]; then # another user's folder of that name is not ours to fill
      printf '%s' "$folder"
      return
    fi
  done
  fail "HOME must be a folder that can be written, but neither it nor TMPDIR, /tmp, /var/tmp or /dev/shm is one."
}

set_home() {
  local given=${HOME:-}
  if [[ -z $given ]] || ! is_writable "$given"; then
    HOME=$(own_folder)
    say "HOME (${given:-unset}) cannot be written: using $HOME."
  fi
  export HOME
  if ! id -un >/dev/null 2>&1; then # a uid without an entry in /etc/passwd: Python's getpass then asks for these
    export LOGNAME="${LOGNAME:-${USER:-ldc}}"
    export USER="${USER:-$LOGNAME}"
  fi
}

# Usage: set_cache VARIABLE NAME. The folder is the given one, else NAME in the image's volume where one is mounted, else
# NAME in the home's cache. A folder that is read-only but filled stays: models that a cluster shares.
set_cache() {
  local folder=${!1:-} fallback=${XDG_CACHE_HOME:-$HOME/.cache}/$2
  if [[ -z $folder ]]; then
    mountpoint -q -- "${LDC_VOLUME:-}" || return 0
    folder=$LDC_VOLUME/$2
  fi
  [[ ${folder%%/*} == \~ ]] && folder=$HOME${folder:1} # no shell has read what `docker run -e` sets
  if ! is_writable "$folder"; then
    if [[ -d $folder && -n $(ls -A -- "$folder" 2>/dev/null) ]]; then
      say "$1 ($folder) is read-only: what is in it is used, nothing can be added."
    else
      say "$1 ($folder) cannot be written: using $fallback."
      folder=$fallback
    fi
  fi
  export "$1=$folder"
}

# Folders that the host names and that the container may not have: without the variable each has a default below HOME.
forget_unwritable() {
  local name
  for name in TMPDIR XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME; do
    if [[ -n ${!name:-} ]] && ! is_writable "${!name}"; then
      say "$name (${!name}) cannot be written: leaving it out."
      unset "$name"
    fi
  done
}

set_folders() {
  forget_unwritable
  set_home
  set_cache HF_HOME huggingface
  set_cache LDC_CACHE ldc
}

gpu_is_visible() {
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi -L 2>/dev/null | grep -q '^GPU'
  else
    compgen -G '/dev/nvidia[0-9]*' >/dev/null
  fi
}

warn_of_machine() {
  [[ ${SLURM_LOCALID:-${LOCAL_RANK:-0}} == 0 ]] || return 0 # once a node
  local shm_kb
  read -r _ shm_kb _ < <(df -Pk /dev/shm 2>/dev/null | tail -n 1) || true
  if ((${shm_kb:-0} < SMALLEST_SHM_KB)); then
    say "/dev/shm has $((${shm_kb:-0} / 1024)) MB, which loader workers and NCCL may fill:" \
      "docker run --ipc=host, or --shm-size=8g."
  fi
  if ! is_one_of trainer=cpu "$*" && ! gpu_is_visible; then
    say "no GPU is visible: docker run --gpus all, apptainer run --nv, srun --gres=gpu:N; or say trainer=cpu."
  fi
}

# Usage: start_torchrun PROCESSES ARGUMENT... The trainer is told of the processes first, so that ARGUMENTs go before it.
start_torchrun() {
  [[ $1 =~ ^([1-9][0-9]*|gpu|cpu|auto)$ ]] || fail "LDC_NPROC must be a number of processes, gpu, cpu or auto, not '$1'."
  local nodes=${NNODES:-1}
  [[ $nodes =~ ^[1-9][0-9]*$ ]] || fail "NNODES must be a number of nodes, not '$nodes'."
  local rank=${NODE_RANK:-${SLURM_NODEID:-}} meeting=(--standalone) trainer=("trainer.num_nodes=$nodes")
  if ((nodes > 1)); then
    [[ -n $rank ]] || fail "NODE_RANK must be set when NNODES is $nodes."
    [[ -n ${MASTER_ADDR:-} ]] || fail "MASTER_ADDR must be set when NNODES is $nodes."
    meeting=(--nnodes "$nodes" --node-rank "$rank" --master-addr "$MASTER_ADDR" --master-port "${MASTER_PORT:-29500}")
  fi
  [[ $1 =~ ^[0-9]+$ ]] && trainer+=("trainer.devices=$1")
  export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-$SAVE_SECONDS}"
  become python -m torch.distributed.run --nproc-per-node "$1" "${meeting[@]}" --signals-to-handle "$SIGNALS" \
    -m ldc.train "${trainer[@]}" "${@:2}"
}

# Process 1 gets no signal that it has no handler for, and nobody buries its orphans: tini is that process.
become() {
  command -v -- "$1" >/dev/null || fail "the first word must be a program or one of ${COMMANDS// /, }, not '$1'."
  if (($$ == 1)) && command -v tini >/dev/null; then
    exec tini -- "$@"
  fi
  exec "$@"
}

run_command() {
  local command=$1 processes=${LDC_NPROC:-}
  if [[ -z $processes && -n ${NPROC:-} ]]; then
    if [[ -z ${SLURM_PROCID:-} ]]; then
      processes=$NPROC
    elif [[ $command == train ]]; then
      say "NPROC is ignored in a task of srun, which starts the processes: LDC_NPROC would count."
    fi
  fi
  shift
  is_one_of "$command" "$COMPUTES" && warn_of_machine "$@"
  if [[ $command == train && -n $processes ]]; then
    start_torchrun "$processes" "$@"
  fi
  [[ -z ${LDC_NPROC:-} ]] || say "LDC_NPROC is ignored: only train runs as several processes."
  become python -m "ldc.$command" "$@"
}

set_folders
if (($# == 0)); then
  become python -m ldc.train --help
elif is_one_of "$1" "$COMMANDS"; then
  run_command "$@"
else
  become "$@"
fi
