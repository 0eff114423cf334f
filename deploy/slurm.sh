#!/usr/bin/env bash
# Pretraining on a Slurm cluster. Copy it, change what is marked, then: sbatch slurm.sh
# torchrun, once on each machine, starts a process for each GPU. Shortly before the job's time is over all of them
# save and stop, and the job puts itself back into the queue, until the run is finished.
#SBATCH --job-name=unmask
#SBATCH --nodes=2                    # change: machines
#SBATCH --ntasks-per-node=1          # torchrun
#SBATCH --gpus-per-node=4            # change: GPUs of a machine
#SBATCH --cpus-per-task=32           # change: cores of a machine
#SBATCH --time=04:00:00              # change
#SBATCH --signal=B:USR1@180          # this script is told three minutes before the end: enough for a step and a save
#SBATCH --requeue                    # may be started again, also by Slurm: after a preemption, a lost machine
#SBATCH --open-mode=append
#SBATCH --output=unmask-%j.log
set -uo pipefail

# change: what to train. Every machine must see the corpus; the run folder may lie on the first one only, if the
# job always gets the same
command=(-m unmask pretrain base --corpus corpus --output runs/base train.budget=12h train.parallel=ddp)

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120  # seconds in which workers may save (from torch 2.13; before, 30)

# a worker that is lost is replaced: all start again from the newest checkpoint, three times at most
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --max-restarts 3 \
  --rdzv-backend c10d --rdzv-endpoint "$first:29500" --rdzv-id "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
  "${command[@]}" &
step=$!

# torchrun gets SIGTERM (srun itself would kill it) and passes it on; the workers stop after the same step, and save
asked=
stop() {
  asked=yes
  scancel --signal=TERM "$SLURM_JOB_ID.0"
}
trap stop USR1

wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do # the signal has ended the wait, not the step
  wait "$step"
  code=$?
done

# workers that have saved end with 75: start me again. torchrun makes 1 of it, so it is 75 here where we have asked
if [[ -n $asked && $code != 0 ]]; then
  code=75
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
