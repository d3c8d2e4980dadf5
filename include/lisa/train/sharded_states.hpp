#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/files/json.hpp"
#include "lisa/train/process_group.hpp"
#include "lisa/train/state_owners.hpp"

namespace lisa {

namespace detail {

/// All elements of dense tensors of one dtype, one after the other.
[[nodiscard]] inline at::Tensor joined(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> flat;
  flat.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.detach().reshape({-1}));
  return aten::cat(flat);
}

/// Broadcasts tensors of one dtype together.
inline void broadcast_joined(ProcessGroup& group, const std::vector<at::Tensor>& tensors, int root) {
  const at::Tensor buffer = joined(tensors);
  // Bytes: not every element type travels.
  group.broadcast(buffer.view(at::kByte), root);
  if (group.rank() == root) return;
  std::int64_t offset = 0;
  for (const at::Tensor& tensor : tensors) {
    tensor.detach().copy_(buffer.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
    offset += tensor.numel();
  }
}

}  // namespace detail

/// Gives every process the values of each tensor's owner, in messages of about `message_bytes`. For parameters after
/// each owner has stepped its own, and, with owner 0 for all, for the first values of a run.
/// Throws IoError when a process is lost.
inline void broadcast_from_owners(ProcessGroup& group, const std::vector<at::Tensor>& tensors,
                                  const std::vector<int>& owners, std::size_t message_bytes = std::size_t{25} << 20) {
  if (group.size() == 1) return;
  const at::NoGradGuard no_gradients;
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto kind = [&](std::size_t i) { return std::pair{owners.at(i), tensors[i].scalar_type()}; };
  const auto place = [&](std::size_t i) { return std::pair{kind(i), i}; };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return place(a) < place(b); });
  std::vector<at::Tensor> message;
  std::size_t bytes = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    message.push_back(tensors[order[k]]);
    bytes += message.back().nbytes();
    const bool last = k + 1 == order.size() || kind(order[k + 1]) != kind(order[k]);
    if (!last && bytes < message_bytes) continue;
    detail::broadcast_joined(group, message, owners[order[k]]);
    message.clear();
    bytes = 0;
  }
}

/// The tensors of all processes on rank 0, those of rank 0 first; nothing on the others. For saving states that are
/// spread over the processes. Throws IoError when a process is lost.
[[nodiscard]] inline NamedTensors gather_tensors(ProcessGroup& group, const NamedTensors& mine) {
  if (group.size() == 1) return mine;
  const at::NoGradGuard no_gradients;
  Json described = Json::array();
  for (const auto& [name, tensor] : mine)
    described.push_back(
        {{"name", name}, {"dtype", static_cast<int>(describe(name, tensor).dtype)}, {"shape", tensor.sizes().vec()}});
  const std::vector<std::string> lists = group.exchange(described.dump());
  NamedTensors gathered;
  for (int rank = 0; rank < group.size(); ++rank) {
    const Json list = parse_json(lists[static_cast<std::size_t>(rank)], "rank " + std::to_string(rank));
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto dtype = scalar_type(static_cast<StoredDtype>(list[i].at("dtype").get<int>()));
      at::Tensor tensor = rank == group.rank() ? mine[i].second.detach().contiguous()
                                               : aten::empty(list[i].at("shape").get<std::vector<std::int64_t>>(),
                                                             at::device(at::kCPU).dtype(dtype));
      if (rank != 0) group.broadcast(tensor.reshape({-1}).view(at::kByte), rank);
      if (group.rank() == 0) gathered.emplace_back(list[i].at("name").get<std::string>(), std::move(tensor));
    }
  }
  return gathered;
}

}  // namespace lisa
