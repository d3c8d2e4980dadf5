#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lisa/config/dim.hpp"

namespace lisa {

/// Extents of a tensor, outermost first.
using Shape = std::vector<std::int64_t>;

/// "[2, 3]".
[[nodiscard]] inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

[[nodiscard]] inline Shape shape_of(const at::Tensor& tensor) { return tensor.sizes().vec(); }

/// A module is a plain struct of tensors with `for_each_parameter(prefix, visit)`: it calls
/// `visit(name, tensor, shape)` for every tensor that a checkpoint must provide, under the checkpoint's own name, with
/// the shape that the compiled configuration demands. Tensors are undefined until a visitor (loader, initialiser)
/// assigns them; buffers of a checkpoint that carry weights, such as SAM's positional matrix, count as parameters.
template <class M>
concept Module = requires(M& module, const std::string& prefix) {
  module.for_each_parameter(prefix, [](const std::string&, at::Tensor&, const Shape&) {});
};

/// Name under a prefix: joins with a dot, without one when the prefix is empty.
[[nodiscard]] inline std::string scoped(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

/// Read-only walk over a module's parameters: `visit(name, const at::Tensor&, shape)`.
template <Module M, class Visitor>
void visit_parameters(const M& module, const std::string& prefix, Visitor&& visit) {
  // The walk itself writes nothing; only the visitor could, and it receives const tensors.
  const_cast<M&>(module).for_each_parameter(prefix,
                                            [&](const std::string& name, at::Tensor& value, const Shape& shape) {
                                              visit(name, std::as_const(value), shape);
                                            });
}

}  // namespace lisa
