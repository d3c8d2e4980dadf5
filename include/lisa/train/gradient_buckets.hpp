#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <c10/core/ScalarType.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/train/process_group.hpp"

namespace lisa {

/// Sums the gradients of a step over processes while the backward pass still runs. Parameters are grouped into buckets;
/// when every gradient of a bucket has arrived, its sum begins in the background. Buckets go in one order on all
/// processes: the reverse of the parameters, about the order in which a backward pass reaches them.
///
/// A backward pass may add to a gradient whose bucket is on its way, as gradient checkpointing of several passes
/// through one block does, and may leave parameters out on some processes; the sum then is as exact, only later.
///
///   buckets.begin(sums);             // before the last micro-batch; `sums` holds what the others gave
///   loss.backward();
///   ... take the parameters' gradients into `sums` ...
///   buckets.finish(sums);            // the gradients of all processes
class GradientBuckets {
 public:
  /// PyTorch's choice for DistributedDataParallel.
  static constexpr std::int64_t default_bucket_bytes = 25 << 20;

  /// @param group      must outlive this
  /// @param parameters leaves that require gradients, the same on every process
  GradientBuckets(ProcessGroup& group, std::vector<at::Tensor> parameters,
                  std::int64_t bucket_bytes = default_bucket_bytes)
      : state_(std::make_shared<State>(group, std::move(parameters))) {
    if (group.size() == 1) return;
    state_->plan(bucket_bytes);
    for (std::size_t i = 0; i < state_->parameters.size(); ++i)
      torch::autograd::impl::set_post_acc_grad_hooks(state_->parameters[i], std::make_unique<Arrival>(state_, i));
  }
  ~GradientBuckets() {
    if (state_->buckets.empty()) return;
    for (const at::Tensor& parameter : state_->parameters)
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Watches the backward pass that follows. @param sums gradients of earlier micro-batches, one for each parameter or
  /// none at all; may hold undefined ones
  void begin(const std::vector<at::Tensor>& sums) {
    if (state_->buckets.empty()) return;
    const std::scoped_lock lock(state_->mutex);
    state_->restart(sums);
  }

  /// Makes `sums` the sums over all processes, times `factor`. A gradient that is undefined everywhere stays so.
  /// Throws IoError when a process is lost.
  void finish(std::vector<at::Tensor>& sums, double factor = 1) {
    const at::NoGradGuard no_gradients;
    if (!state_->buckets.empty()) state_->finish(sums);
    if (factor == 1) return;
    for (at::Tensor& sum : sums)
      if (sum.defined()) sum.mul_(factor);
  }

 private:
  struct Bucket {
    std::vector<std::size_t> members;
    at::Tensor buffer;  ///< [elements of all members]
    std::size_t missing = 0;
    std::unique_ptr<PendingOperation> pending;
    bool late = false;  ///< a gradient grew after the bucket was sent
  };

  struct State {
    State(ProcessGroup& of, std::vector<at::Tensor> those) : group(of), parameters(std::move(those)) {}

    ProcessGroup& group;
    std::vector<at::Tensor> parameters;
    std::vector<Bucket> buckets;
    std::vector<std::size_t> bucket_of;
    std::vector<bool> arrived;
    std::vector<at::Tensor> before;  ///< gradients of earlier micro-batches
    std::size_t sent = 0;            ///< buckets on their way: the first ones
    bool watching = false;
    std::mutex mutex;

    void plan(std::int64_t bucket_bytes) {
      bucket_of.resize(parameters.size());
      at::TensorOptions options;
      std::int64_t elements = 0;
      const auto close = [&] {
        if (!buckets.empty()) buckets.back().buffer = aten::empty({elements}, options);
        elements = 0;
      };
      for (std::size_t i = parameters.size(); i-- > 0;) {
        const at::TensorOptions of_this = parameters[i]
                                              .options()
                                              .requires_grad(std::nullopt)
                                              .dtype(c10::promoteTypes(parameters[i].scalar_type(), at::kFloat));
        const bool fits =
            !buckets.empty() && of_this.dtype() == options.dtype() && of_this.device() == options.device() &&
            (elements + parameters[i].numel()) * static_cast<std::int64_t>(of_this.dtype().itemsize()) <= bucket_bytes;
        if (!fits) {
          close();
          buckets.emplace_back();
          options = of_this;
        }
        buckets.back().members.push_back(i);
        bucket_of[i] = buckets.size() - 1;
        elements += parameters[i].numel();
      }
      close();
    }

    void restart(const std::vector<at::Tensor>& sums) {
      before = sums;
      before.resize(parameters.size());
      arrived.assign(parameters.size(), false);
      sent = 0;
      for (Bucket& bucket : buckets) {
        bucket.missing = bucket.members.size();
        bucket.late = false;
      }
      watching = true;
    }

    void arrive(std::size_t parameter) {
      const std::scoped_lock lock(mutex);
      if (!watching) return;
      Bucket& bucket = buckets[bucket_of[parameter]];
      if (bucket.pending) bucket.late = true;
      if (arrived[parameter]) return;
      arrived[parameter] = true;
      --bucket.missing;
      const at::NoGradGuard no_gradients;
      for (; sent < buckets.size() && buckets[sent].missing == 0; ++sent)
        send(buckets[sent], [&](std::size_t i) { return std::pair{before[i], parameters[i].grad()}; });
    }

    /// Fills the buffer with the sum of two tensors for each member, either of which may be undefined.
    template <class Parts>
    void send(Bucket& bucket, const Parts& parts) {
      std::int64_t offset = 0;
      for (const std::size_t i : bucket.members) {
        const at::Tensor place = slice(bucket, i, offset);
        const auto [first, second] = parts(i);
        if (first.defined())
          place.copy_(first);
        else if (second.defined())
          place.copy_(second);
        else
          place.zero_();
        if (first.defined() && second.defined()) place.add_(second);
      }
      bucket.pending = group.begin_sum(bucket.buffer);
    }

    /// The part of the buffer that belongs to a parameter, in its shape; moves `offset` behind it.
    [[nodiscard]] at::Tensor slice(const Bucket& bucket, std::size_t parameter, std::int64_t& offset) const {
      const std::int64_t begin = offset;
      offset += parameters[parameter].numel();
      return bucket.buffer.narrow(0, begin, parameters[parameter].numel()).view(parameters[parameter].sizes());
    }

    void finish(std::vector<at::Tensor>& sums) {
      const std::scoped_lock lock(mutex);
      if (!watching) restart(sums);  // no backward pass was watched: everything is sent now
      watching = false;
      sums.resize(parameters.size());
      const auto whole = [&](std::size_t i) { return std::pair{sums[i], at::Tensor()}; };
      for (; sent < buckets.size(); ++sent) send(buckets[sent], whole);
      // One number per bucket: was it sent too early; one per parameter: has it a gradient. Somewhere is enough.
      const at::Tensor flags = aten::zeros({static_cast<std::int64_t>(buckets.size() + parameters.size())}, at::kLong);
      auto* const flag = flags.mutable_data_ptr<std::int64_t>();
      for (std::size_t b = 0; b < buckets.size(); ++b) flag[b] = buckets[b].late ? 1 : 0;
      for (std::size_t i = 0; i < parameters.size(); ++i) flag[buckets.size() + i] = sums[i].defined() ? 1 : 0;
      group.begin_sum(flags)->wait();
      for (std::size_t b = 0; b < buckets.size(); ++b) {
        std::exchange(buckets[b].pending, nullptr)->wait();
        if (flag[b] == 0) continue;
        send(buckets[b], whole);
        std::exchange(buckets[b].pending, nullptr)->wait();
      }
      for (const Bucket& bucket : buckets) {
        std::int64_t offset = 0;
        for (const std::size_t i : bucket.members) {
          const at::Tensor sum = slice(bucket, i, offset);
          if (flag[buckets.size() + i] == 0) continue;
          if (sums[i].defined())
            sums[i].copy_(sum);
          else
            sums[i] = sum.clone();
        }
      }
      before.clear();
    }
  };

  /// Called by autograd when a parameter's gradient has grown.
  struct Arrival final : torch::autograd::PostAccumulateGradHook {
    Arrival(std::shared_ptr<State> of, std::size_t index) : state(std::move(of)), parameter(index) {}
    void operator()(const at::Tensor& /*variable*/) override { state->arrive(parameter); }
    std::shared_ptr<State> state;
    std::size_t parameter;
  };

  std::shared_ptr<State> state_;
};

}  // namespace lisa
