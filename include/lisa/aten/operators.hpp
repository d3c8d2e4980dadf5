#pragma once

// ATen's operators that are no methods of a tensor, each as its documentation at pytorch.org says. ATen's own headers
// of single operators (ATen/ops/empty.h and the like) declare the same functions, but each of them reaches the
// interpreter's value types, which costs every file that includes one two seconds of compile time; the declarations of
// the entry points (ATen/ops/empty_ops.h) do not. What has a method (matmul, softmax, relu, ...) is called as one.

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange_ops.h>
#include <ATen/ops/concat_ops.h>
#include <ATen/ops/constant_pad_nd_ops.h>
#include <ATen/ops/conv2d_ops.h>
#include <ATen/ops/embedding_ops.h>
#include <ATen/ops/empty_like_ops.h>
#include <ATen/ops/empty_ops.h>
#include <ATen/ops/eye_ops.h>
#include <ATen/ops/full_ops.h>
#include <ATen/ops/gelu_ops.h>
#include <ATen/ops/gt_ops.h>
#include <ATen/ops/layer_norm_ops.h>
#include <ATen/ops/linear_ops.h>
#include <ATen/ops/ones_ops.h>
#include <ATen/ops/pow_ops.h>
#include <ATen/ops/silu_ops.h>
#include <ATen/ops/stack_ops.h>
#include <ATen/ops/upsample_bilinear2d_ops.h>
#include <ATen/ops/upsample_linear1d_ops.h>
#include <ATen/ops/zeros_like_ops.h>
#include <ATen/ops/zeros_ops.h>
#include <c10/core/Scalar.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/core/TensorOptions.h>

#include <array>
#include <optional>

#include "lisa/config/dim.hpp"

namespace lisa::aten {

namespace detail {

/// Calls a factory's entry point with its own arguments, then the options one by one.
template <class Factory, class... Own>
[[nodiscard]] at::Tensor make(const at::TensorOptions& options, const Own&... own) {
  return Factory::call(own..., c10::optTypeMetaToScalarType(options.dtype_opt()), options.layout_opt(),
                       options.device_opt(), options.pinned_memory_opt());
}

[[nodiscard]] inline c10::SymIntArrayRef extents(at::IntArrayRef sizes) { return c10::fromIntArrayRefSlow(sizes); }

}  // namespace detail

/// A tensor of values left unset.
[[nodiscard]] inline at::Tensor empty(at::IntArrayRef sizes, const at::TensorOptions& options = {}) {
  return at::_ops::empty_memory_format::call(detail::extents(sizes), c10::optTypeMetaToScalarType(options.dtype_opt()),
                                             options.layout_opt(), options.device_opt(), options.pinned_memory_opt(),
                                             options.memory_format_opt());
}

/// As `like` in shape, dtype and device, of values left unset.
[[nodiscard]] inline at::Tensor empty_like(const at::Tensor& like) {
  return at::_ops::empty_like::call(like, {}, {}, {}, {}, {});
}

/// As `like` in shape, dtype and device.
[[nodiscard]] inline at::Tensor zeros_like(const at::Tensor& like) {
  return at::_ops::zeros_like::call(like, {}, {}, {}, {}, {});
}

/// @param options dtype (fp32 unless given), device, layout
[[nodiscard]] inline at::Tensor zeros(at::IntArrayRef sizes, const at::TensorOptions& options = {}) {
  return detail::make<at::_ops::zeros>(options, detail::extents(sizes));
}

/// @param options as for `zeros`
[[nodiscard]] inline at::Tensor ones(at::IntArrayRef sizes, const at::TensorOptions& options = {}) {
  return detail::make<at::_ops::ones>(options, detail::extents(sizes));
}

/// @param options as for `zeros`
[[nodiscard]] inline at::Tensor full(at::IntArrayRef sizes, const at::Scalar& value,
                                     const at::TensorOptions& options = {}) {
  return detail::make<at::_ops::full>(options, detail::extents(sizes), value);
}

/// 0, 1, ..., end - 1
[[nodiscard]] inline at::Tensor arange(const at::Scalar& end, const at::TensorOptions& options = {}) {
  return detail::make<at::_ops::arange>(options, end);
}

/// begin, begin + step, ... below end
[[nodiscard]] inline at::Tensor arange(const at::Scalar& begin, const at::Scalar& end, const at::Scalar& step,
                                       const at::TensorOptions& options = {}) {
  return detail::make<at::_ops::arange_start_step>(options, begin, end, step);
}

/// begin, begin + 1, ... below end
[[nodiscard]] inline at::Tensor arange(const at::Scalar& begin, const at::Scalar& end,
                                       const at::TensorOptions& options) {
  return arange(begin, end, 1, options);
}

/// The identity matrix [n, n].
[[nodiscard]] inline at::Tensor eye(dim n, const at::TensorOptions& options = {}) {
  return detail::make<at::_ops::eye>(options, c10::SymInt(n));
}

/// Tensors one after another along an extent they have.
[[nodiscard]] inline at::Tensor cat(at::TensorList tensors, dim along = 0) {
  return at::_ops::concat::call(tensors, along);
}

/// Tensors of one shape one after another along an extent of their own.
[[nodiscard]] inline at::Tensor stack(at::TensorList tensors, dim along = 0) {
  return at::_ops::stack::call(tensors, along);
}

/// Values beside a tensor's last extents; `pad` counts them before and after, the last extent first.
[[nodiscard]] inline at::Tensor constant_pad_nd(const at::Tensor& x, at::IntArrayRef pad, const at::Scalar& value = 0) {
  return at::_ops::constant_pad_nd::call(x, detail::extents(pad), value);
}

/// @param weight [Out, In]
/// @param bias [Out] or none
/// @return x weight^T + bias
[[nodiscard]] inline at::Tensor linear(const at::Tensor& x, const at::Tensor& weight,
                                       const std::optional<at::Tensor>& bias = {}) {
  return at::_ops::linear::call(x, weight, bias);
}

/// @param x [N, In, h, w]
/// @param weight [Out, In, kernel, kernel]
/// @param bias [Out] or none
[[nodiscard]] inline at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight,
                                       const std::optional<at::Tensor>& bias, dim stride, dim padding = 0) {
  const std::array<dim, 2> strides{stride, stride}, paddings{padding, padding}, dilations{1, 1};
  return at::_ops::conv2d::call(x, weight, bias, detail::extents(strides), detail::extents(paddings),
                                detail::extents(dilations), 1);
}

/// Rows of `weight` [V, N] at `ids`.
[[nodiscard]] inline at::Tensor embedding(const at::Tensor& weight, const at::Tensor& ids) {
  return at::_ops::embedding::call(weight, ids, -1, /*scale_grad_by_freq=*/false, /*sparse=*/false);
}

/// Over the last extents, which are `normalised_shape`, then times `weight`, plus `bias`.
[[nodiscard]] inline at::Tensor layer_norm(const at::Tensor& x, at::IntArrayRef normalised_shape,
                                           const std::optional<at::Tensor>& weight,
                                           const std::optional<at::Tensor>& bias, double eps) {
  return at::_ops::layer_norm::call(x, detail::extents(normalised_shape), weight, bias, eps, /*cudnn_enable=*/true);
}

/// With the error function, not its approximation by tanh.
[[nodiscard]] inline at::Tensor gelu(const at::Tensor& x) { return at::_ops::gelu::call(x, "none"); }

/// The same in place.
inline at::Tensor& gelu_(at::Tensor& x) { return at::_ops::gelu_::call(x, "none"); }

/// x / (1 + exp(-x))
[[nodiscard]] inline at::Tensor silu(const at::Tensor& x) { return at::_ops::silu::call(x); }

/// The same in place.
inline at::Tensor& silu_(at::Tensor& x) { return at::_ops::silu_::call(x); }

/// A number to the power of each value.
[[nodiscard]] inline at::Tensor pow(const at::Scalar& base, const at::Tensor& exponent) {
  return at::_ops::pow_Scalar::call(base, exponent);
}

/// Writes into `out` where x exceeds `bound`.
inline at::Tensor& gt_out(at::Tensor& out, const at::Tensor& x, const at::Scalar& bound) {
  return at::_ops::gt_Scalar_out::call(x, bound, out);
}

/// Linear interpolation along the last extent. @param x [N, C, L]
[[nodiscard]] inline at::Tensor upsample_linear1d(const at::Tensor& x, at::IntArrayRef size, bool align_corners) {
  return at::_ops::upsample_linear1d::call(x, detail::extents(size), align_corners, {});
}

/// Bilinear interpolation of the last two extents. @param x [N, C, h, w]
[[nodiscard]] inline at::Tensor upsample_bilinear2d(const at::Tensor& x, at::IntArrayRef size, bool align_corners) {
  return at::_ops::upsample_bilinear2d::call(x, detail::extents(size), align_corners, {}, {});
}

/// The same into `out`.
inline at::Tensor& upsample_bilinear2d_out(at::Tensor& out, const at::Tensor& x, at::IntArrayRef size,
                                           bool align_corners) {
  return at::_ops::upsample_bilinear2d_out::call(x, detail::extents(size), align_corners, {}, {}, out);
}

}  // namespace lisa::aten
