#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/safetensors_writer.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/checkpoint/torch_writer.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

/// One file of a sharded checkpoint.
struct Shard {
  std::string file;
  std::vector<StoredTensor> tensors;
};

/// Distributes tensors, in their order, over files of at most `max_bytes` of data each (a larger tensor gets a file of
/// its own), named as transformers does: `model-00001-of-00003.safetensors` or `pytorch_model-00001-of-00003.bin`, and
/// `model.safetensors` or `pytorch_model.bin` when one file is enough.
[[nodiscard]] inline std::vector<Shard> plan_shards(const std::vector<StoredTensor>& tensors, TensorFileFormat format,
                                                    std::uint64_t max_bytes) {
  std::vector<Shard> shards(1);
  std::uint64_t filled = 0;
  for (const StoredTensor& tensor : tensors) {
    const std::uint64_t bytes = byte_count(tensor.shape, tensor.dtype).value_or(0);
    if (!shards.back().tensors.empty() && (bytes > max_bytes || filled > max_bytes - bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().tensors.push_back(tensor);
    filled += bytes;
  }
  const std::string stem = format == TensorFileFormat::safetensors ? "model" : "pytorch_model";
  const std::string extension = format == TensorFileFormat::safetensors ? ".safetensors" : ".bin";
  for (std::size_t i = 0; i < shards.size(); ++i) {
    char number[64] = "";
    if (shards.size() > 1) std::snprintf(number, sizeof number, "-%05zu-of-%05zu", i + 1, shards.size());
    shards[i].file = stem + number + extension;
  }
  return shards;
}

/// Name of the index that goes with the shards of a format.
[[nodiscard]] inline std::string shard_index_name(TensorFileFormat format) {
  return format == TensorFileFormat::safetensors ? "model.safetensors.index.json" : "pytorch_model.bin.index.json";
}

/// Writes a checkpoint into an existing folder, in one file or in shards with their index. `produce` is asked for one
/// tensor at a time. The files get their names only after all of them are complete, the index last.
/// Gives the names of the files written. Throws IoError, InputError.
inline std::vector<std::string> write_sharded(const std::filesystem::path& folder,
                                              const std::vector<StoredTensor>& tensors, TensorFileFormat format,
                                              std::uint64_t max_shard_bytes, const TensorProducer& produce) {
  detail::check_tensors_to_write(tensors, shown_path(folder));
  const std::vector<Shard> shards = plan_shards(tensors, format, max_shard_bytes);
  std::vector<AtomicFile> files;
  std::vector<std::string> names;
  Json index = {{"metadata", {{"total_size", std::uint64_t{0}}}}, {"weight_map", Json::object()}};
  std::map<std::string, std::string> shard_of;
  std::uint64_t total = 0;
  for (const Shard& shard : shards) {
    const std::filesystem::path path = folder / shard.file;
    files.push_back(format == TensorFileFormat::safetensors
                        ? stage_safetensors(path, shard.tensors, {{"format", "pt"}}, produce)
                        : stage_torch_file(path, shard.tensors, produce));
    names.push_back(shard.file);
    for (const StoredTensor& tensor : shard.tensors) {
      shard_of.emplace(tensor.name, shard.file);
      total += *byte_count(tensor.shape, tensor.dtype);
    }
  }
  if (shards.size() > 1) {
    index["metadata"]["total_size"] = total;
    index["weight_map"] = shard_of;
    names.push_back(shard_index_name(format));
    files.emplace_back(folder / names.back()).append(index.dump(2) + "\n");
  }
  for (AtomicFile& file : files) file.commit();
  return names;
}

}  // namespace lisa
