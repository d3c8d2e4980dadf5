#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/safetensors_writer.hpp"
#include "lisa/checkpoint/sharded_writer.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"

namespace lisa {

/// Tensors with their names, in the order in which they are to be written.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Name, dtype and shape of a tensor as a file states them. Throws InputError for an undefined tensor and for element
/// types that checkpoint files do not hold.
[[nodiscard]] inline StoredTensor describe(const std::string& name, const at::Tensor& tensor) {
  if (!tensor.defined()) throw InputError("tensor " + quoted(name), "found no value, expected a tensor");
  const std::optional<StoredDtype> dtype = stored_dtype(tensor.scalar_type());
  if (!dtype)
    throw InputError("tensor " + quoted(name),
                     found_expected("element type " + std::string(c10::toString(tensor.scalar_type())),
                                    "a floating-point, integer or boolean type of a checkpoint"));
  return {.name = name, .dtype = *dtype, .shape = tensor.sizes().vec()};
}

/// Hands a tensor's elements to a writer, in row-major order; copies when it is not on the CPU or not contiguous.
inline void append_elements(const at::Tensor& tensor, const ByteSink& sink) {
  const at::Tensor dense = tensor.cpu().contiguous();
  sink({static_cast<const std::byte*>(dense.const_data_ptr()), dense.nbytes()});
}

namespace detail {

/// A producer that finds the tensors by name.
[[nodiscard]] inline TensorProducer produce_from(const NamedTensors& tensors) {
  std::map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  return [by_name = std::move(by_name)](const StoredTensor& wanted, const ByteSink& sink) {
    append_elements(by_name.at(wanted.name), sink);
  };
}

[[nodiscard]] inline std::vector<StoredTensor> describe_all(const NamedTensors& tensors) {
  std::vector<StoredTensor> described;
  for (const auto& [name, tensor] : tensors) described.push_back(describe(name, tensor));
  return described;
}

}  // namespace detail

/// Writes one safetensors file, atomically. Throws IoError, InputError.
inline void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  stage_safetensors(path, detail::describe_all(tensors), metadata, detail::produce_from(tensors)).commit();
}

/// Writes one torch archive, atomically, that `torch.load` reads. Throws IoError, InputError.
inline void write_torch_file(const std::filesystem::path& path, const NamedTensors& tensors) {
  stage_torch_file(path, detail::describe_all(tensors), detail::produce_from(tensors)).commit();
}

/// Makes the value of a tensor of which dtype and shape were announced.
using TensorSource = std::function<at::Tensor(const StoredTensor&)>;

/// Writes a checkpoint of any size into a folder, holding one tensor in memory at a time: `source` makes each when it
/// is its turn. See `write_sharded` for names. Throws IoError, InputError (a tensor other than announced).
inline std::vector<std::string> write_sharded_tensors(const std::filesystem::path& folder,
                                                      const std::vector<StoredTensor>& tensors, TensorFileFormat format,
                                                      std::uint64_t max_shard_bytes, const TensorSource& source) {
  return write_sharded(folder, tensors, format, max_shard_bytes, [&](const StoredTensor& wanted, const ByteSink& sink) {
    const at::Tensor value = source(wanted);
    const StoredTensor found = describe(wanted.name, value);
    if (found.dtype != wanted.dtype || found.shape != wanted.shape)
      throw InputError("tensor " + quoted(wanted.name),
                       found_expected(shape_text(found.shape), shape_text(wanted.shape)));
    append_elements(value, sink);
  });
}

}  // namespace lisa
