#pragma once

#include <cstdint>

#include "lisa/train/adamw_options.hpp"
#include "lisa/train/loss_weights.hpp"
#include "lisa/train/schedule.hpp"
#include "lisa/train/trainable_parts.hpp"

namespace lisa {

/// What the losses of a step with several micro-batches or processes are averaged over.
enum class LossAveraging {
  step,         ///< all tokens and masks of the step, however they are split: as one large batch
  micro_batch,  ///< those of each micro-batch, then over micro-batches and processes, as the original does
};

/// How the steps of a run are computed. The defaults are LISA's (train_ds.py).
struct TrainerOptions {
  TrainableParts parts = lisa_recipe;
  AdamWOptions optimiser{};
  Schedule schedule{};
  LossWeights weights{};
  LossAveraging averaging = LossAveraging::step;
  double max_gradient_norm = 1;
  bool gradient_checkpointing = true;
  bool sharded_states = false;  ///< optimiser states spread over the processes
  std::uint64_t seed = 0;       ///< of the adapters' dropout
};

}  // namespace lisa
