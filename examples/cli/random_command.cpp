#include "random_command.hpp"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <numbers>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/checkpoint/sharded_writer.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/checkpoint/write_config.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/model/precision.hpp"
#include "lisa/text/write_tokenizer.hpp"
#include "spec_entry.hpp"
#include "staged_folder.hpp"
#include "tensor_options.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

constexpr std::string_view tower_folder = "vision_tower";

struct RandomOptions {
  std::string spec;
  std::string output;
  std::uint64_t seed = 0;
  std::string dtype = "mixed";
  TensorFileChoice files{.format = "bin"};
};

/// How the values of a tensor are distributed.
enum class Distribution : std::uint8_t {
  weight,     ///< normal, standard deviation 0.02 (LLaMA's initializer_range)
  norm,       ///< 1 plus that
  positional  ///< standard normal: SAM's positional matrix
};

Distribution distribution_of(const StoredTensor& tensor) {
  if (tensor.name.ends_with("positional_encoding_gaussian_matrix")) return Distribution::positional;
  return tensor.shape.size() == 1 && tensor.name.ends_with(".weight") ? Distribution::norm : Distribution::weight;
}

/// FNV-1a, so that a tensor's values do not depend on the standard library.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325U;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return value;
}

/// Random elements without end, cut out of one block per distribution and dtype. A tensor starts at a place of its own
/// and repeats the block, whose prime length keeps the rows of a matrix different.
class RandomElements {
 public:
  explicit RandomElements(std::uint64_t seed) : seed_(seed), normals_(block_elements) {
    std::mt19937_64 random(seed);
    const auto uniform = [&] { return static_cast<double>((random() >> 11U) + 1) * 0x1p-53; };  // (0, 1]
    for (float& value : normals_)                                                               // Box and Muller 1958
      value = static_cast<float>(std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()));
  }

  void append(const StoredTensor& tensor, const ByteSink& sink) {
    const std::vector<std::byte>& block = block_of(distribution_of(tensor), tensor.dtype);
    std::uint64_t left = *byte_count(tensor.shape, tensor.dtype);
    std::size_t begin = (hash(tensor.name) ^ seed_) % block_elements * info(tensor.dtype).bytes;
    while (left > 0) {
      const std::size_t count = std::min<std::uint64_t>(left, block.size() - begin);
      sink(std::span(block).subspan(begin, count));
      left -= count;
      begin = 0;
    }
  }

 private:
  static constexpr std::size_t block_elements = 1048573;

  template <class T>
  void fill(std::vector<std::byte>& block, Distribution distribution) const {
    block.resize(block_elements * sizeof(T));
    for (std::size_t i = 0; i < block_elements; ++i) {
      const float scale = distribution == Distribution::positional ? 1.0F : 0.02F;
      const T value(scale * normals_[i] + (distribution == Distribution::norm ? 1.0F : 0.0F));
      std::memcpy(block.data() + i * sizeof(T), &value, sizeof value);
    }
  }

  const std::vector<std::byte>& block_of(Distribution distribution, StoredDtype dtype) {
    std::vector<std::byte>& block = blocks_[{distribution, dtype}];
    if (!block.empty()) return block;
    if (dtype == StoredDtype::bf16)
      fill<c10::BFloat16>(block, distribution);
    else if (dtype == StoredDtype::f16)
      fill<c10::Half>(block, distribution);
    else
      fill<float>(block, distribution);
    return block;
  }

  std::uint64_t seed_;
  std::vector<float> normals_;
  std::map<std::pair<Distribution, StoredDtype>, std::vector<std::byte>> blocks_;
};

SpecEntry find_spec(const std::string& name) {
  std::string known;
  for (const SpecEntry& entry : spec_entries()) {
    if (entry.configs.name == name) return entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.configs.name);
  }
  throw InputError("spec", found_expected(quoted(name), "one of " + known));
}

/// What CLIP's files hold beside the tensors that a model reads: the blocks behind the feature layer, the last norm.
void add_unread_tower_tensors(std::vector<StoredTensor>& tower, const ClipConfig& vision) {
  constexpr std::string_view first_block = "vision_model.encoder.layers.0.";
  std::vector<StoredTensor> block;
  for (const StoredTensor& tensor : tower)
    if (tensor.name.starts_with(first_block)) block.push_back(tensor);
  for (dim i = blocks_run(vision); i < vision.layers; ++i)
    for (StoredTensor tensor : block) {
      tensor.name = "vision_model.encoder.layers." + std::to_string(i) + "." + tensor.name.substr(first_block.size());
      tower.push_back(std::move(tensor));
    }
  for (const char* name : {"vision_model.post_layernorm.weight", "vision_model.post_layernorm.bias"})
    if (!tower.empty()) tower.push_back({.name = name, .dtype = tower.front().dtype, .shape = {vision.hidden}});
}

/// The tensors that stand in one of the two folders, with the dtypes of a precision.
std::vector<StoredTensor> tensors_of(const SpecEntry& spec, Precision precision, bool vision_tower) {
  std::vector<StoredTensor> tensors;
  for (const ParameterInfo& parameter : spec.parameters()) {
    if ((parameter.part == Part::vision_tower) != vision_tower) continue;
    const auto dtype = stored_dtype(dtype_of(parameter.part, precision, c10::kFloat, c10::kFloat));
    tensors.push_back({.name = parameter.name, .dtype = dtype.value(), .shape = parameter.shape});
  }
  if (vision_tower) add_unread_tower_tensors(tensors, spec.configs.vision);
  return tensors;
}

std::uint64_t total_bytes(const std::vector<StoredTensor>& tensors) {
  std::uint64_t total = 0;
  for (const StoredTensor& tensor : tensors) total += byte_count(tensor.shape, tensor.dtype).value_or(0);
  return total;
}

void write_random_checkpoint(const RandomOptions& options) {
  const SpecEntry spec = find_spec(options.spec);
  const Precision precision = parse_precision(options.dtype);
  const TensorFileFormat format = parse_tensor_file_format(options.files.format);
  const std::uint64_t max_shard_bytes = parse_byte_size(options.files.max_shard_size);
  const std::vector<StoredTensor> model = tensors_of(spec, precision, false);
  const std::vector<StoredTensor> tower = tensors_of(spec, precision, true);

  StagedFolder folder(options.output);
  const std::filesystem::path tower_path = folder.path() / tower_folder;
  std::filesystem::create_directory(tower_path);
  write_tokenizer(folder.path(), lisa_prompt_words(), spec.configs.llm.vocab, spec.configs.llm.context);
  write_checkpoint_config(folder.path(), spec.configs,
                          torch_dtype_name(dtype_of(Part::llm, precision, c10::kFloat, c10::kFloat)), tower_folder);
  write_tower_config(tower_path, spec.configs.vision);

  Stopwatch watch;
  RandomElements elements(options.seed);
  Progress progress("tensors written", model.size() + tower.size());
  std::size_t done = 0;
  const TensorProducer produce = [&](const StoredTensor& tensor, const ByteSink& sink) {
    elements.append(tensor, sink);
    progress.update(++done, printable(tensor.name));
  };
  write_sharded(tower_path, tower, format, max_shard_bytes, produce);
  write_sharded(folder.path(), model, format, max_shard_bytes, produce);
  folder.commit();
  std::cout << printable(options.output, 4096) << ": " << spec.configs.name << ", " << options.dtype << ", "
            << bytes(static_cast<double>(total_bytes(model) + total_bytes(tower))) << " in " << duration(watch.lap())
            << "\n";
}

}  // namespace

void add_random_command(CLI::App& app) {
  const auto options = std::make_shared<RandomOptions>();
  CLI::App* command =
      app.add_subcommand("random", "Write a checkpoint with random weights, for trials and measurements");
  command->add_option("--spec", options->spec, "compiled specification (`lisa info` lists them)")->required();
  command->add_option("--output", options->output, "folder to write; new or empty")->required();
  command->add_option("--seed", options->seed, "of the random numbers")->capture_default_str();
  command->add_option("--dtype", options->dtype, "fp32, bf16, fp16 or mixed (bf16, SAM fp32); stored is fp32")
      ->capture_default_str();
  add_tensor_file_options(*command, options->files);
  command->footer(
      "Example:\n  lisa random --spec lisa-7b --output random-7b\n"
      "The vision tower is written beside the weights, in vision_tower/.");
  command->callback([options] { write_random_checkpoint(*options); });
}

}  // namespace lisa::program
