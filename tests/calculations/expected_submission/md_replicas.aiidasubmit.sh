#!/bin/bash
#SBATCH --no-requeue
#SBATCH --job-name="aiida-None"
#SBATCH --get-user-env
#SBATCH --output=_scheduler-stdout.txt
#SBATCH --error=_scheduler-stderr.txt
#SBATCH --partition=tesla
#SBATCH --account=pl0415-02
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=1-00:00:00
#SBATCH --mem=184320
#SBATCH --constraint=h100
#SBATCH --gpus-per-node=1

# ENVIRONMENT VARIABLES BEGIN ###
export OMP_NUM_THREADS='8'
export MKL_NUM_THREADS='8'
# ENVIRONMENT VARIABLES END ###

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-8}"

'/home/user/mbetrain-env/bin/mbetrain-worker' '.'
