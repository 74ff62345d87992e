#!/usr/bin/env bash
# Starts ldc.train by torchrun, one process a GPU: launch/torchrun.sh GPUS_PER_NODE ARGUMENT_OF_LDC_TRAIN...
# On several nodes, the same line on each with NNODES, NODE_RANK and MASTER_ADDR, the first node's name.
set -euo pipefail
processes=${1:?GPUS_PER_NODE must be given}
if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
  echo "GPUS_PER_NODE must be a number from 1 before the arguments, not '$processes'." >&2
  exit 2
fi
shift
rendezvous=(--standalone)
if [ "${NNODES:-1}" -gt 1 ]; then
  rendezvous=(--node-rank="${NODE_RANK:?}" --master-addr="${MASTER_ADDR:?}" --master-port="${MASTER_PORT:-29500}")
fi
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-300} # seconds for saving the state after a signal
exec torchrun --nnodes="${NNODES:-1}" --nproc-per-node="$processes" "${rendezvous[@]}" \
  --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
  --module ldc.train "$@" trainer.num_nodes="${NNODES:-1}" trainer.devices="$processes"
