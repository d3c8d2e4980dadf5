#include "convert_command.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "checkpoint_parts.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/canonical_name.hpp"
#include "lisa/checkpoint/checkpoint_folder.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/side_files.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/model/precision.hpp"
#include "lisa/model/quantisable.hpp"
#include "lisa/nn/quantised_linear.hpp"
#include "lisa/quant/weight_format.hpp"
#include "staged_folder.hpp"
#include "tensor_options.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string source;
  std::string output;
  std::string dtype = "stored";
  std::string weights;
  std::string head;           ///< format of the language model's head, empty for none
  std::string image_encoder;  ///< format of its linear layers, empty for none
  std::string adapter;
  TensorFileChoice files{.format = "safetensors"};
  bool skip_crc = false;
};

/// A LoRA adapter (PEFT folder), matched with the tensors of a checkpoint.
class Adapter {
 public:
  /// @throws MismatchError naming every tensor of the adapter that has no place in the checkpoint or does not fit
  Adapter(const std::string& folder, const TensorArchive& checkpoint, const ArchiveOptions& options)
      : archive_(read_archive(folder, options)) {
    const auto config = read_adapter_config(folder);
    if (!config)
      throw IoError(shown_path(fs::path(folder) / "adapter_config.json"), "",
                    "found no such file, expected rank and alpha");
    scaling_ = scaling(*config);
    std::map<std::string, at::Tensor> weights;
    for (const auto& [name, tensor] : checkpoint.tensors) weights.emplace(canonical_name(name), tensor.value);
    for (const auto& [name, tensor] : archive_.tensors) take(canonical_name(name), tensor.value, weights);
    for (const auto& [target, pair] : pairs_) check(target, pair, config->rank, weights.at(target));
    if (!defects_.empty())
      throw MismatchError(shown_path(folder), "adapter", defects_.report("tensors that do not fit the checkpoint"));
  }

  /// The tensor with the adapter in it: W + alpha / r * B A in fp32, in the dtype of W; or the adapter's own, where it
  /// replaces the whole tensor.
  [[nodiscard]] at::Tensor apply(const std::string& canonical, const at::Tensor& weight) const {
    if (const auto whole = whole_.find(canonical); whole != whole_.end()) return whole->second.to(weight.dtype());
    const auto pair = pairs_.find(canonical);
    if (pair == pairs_.end()) return weight;
    const at::Tensor update = at::matmul(pair->second.b.to(at::kFloat), pair->second.a.to(at::kFloat));  // [out, in]
    return weight.to(at::kFloat).add(update, scaling_).to(weight.dtype());
  }

  [[nodiscard]] const TensorArchive& archive() const noexcept { return archive_; }
  [[nodiscard]] std::size_t merged() const noexcept { return pairs_.size() + whole_.size(); }

 private:
  struct LowRank {
    at::Tensor a;  // [rank, in]
    at::Tensor b;  // [out, rank]
  };

  void take(const std::string& name, const at::Tensor& value, const std::map<std::string, at::Tensor>& weights) {
    for (const std::string_view part : {".lora_A.weight", ".lora_B.weight"}) {
      if (!name.ends_with(part)) continue;
      const std::string target = name.substr(0, name.size() - part.size()) + ".weight";
      if (!weights.contains(target)) return missing(name, value);
      (part == ".lora_A.weight" ? pairs_[target].a : pairs_[target].b) = value;
      return;
    }
    const auto weight = weights.find(name);
    if (weight == weights.end()) return missing(name, value);
    if (weight->second.sizes() != value.sizes())
      defects_.add(printable(name) + ": " +
                   found_expected(shape_text(value.sizes().vec()), shape_text(weight->second.sizes().vec())));
    whole_.emplace(name, value);
  }

  void missing(const std::string& name, const at::Tensor& value) {
    defects_.add(printable(name) + ": found " + shape_text(value.sizes().vec()) +
                 ", expected a tensor that the checkpoint has");
  }

  void check(const std::string& target, const LowRank& pair, dim rank, const at::Tensor& weight) {
    const std::string stem = target.substr(0, target.size() - std::string_view(".weight").size());
    const auto demand = [&](const at::Tensor& value, const std::string& name, const std::vector<dim>& shape) {
      if (!value.defined())
        defects_.add(printable(stem + name) + ": missing, expected " + shape_text(shape));
      else if (value.sizes().vec() != shape || !value.is_floating_point())
        defects_.add(printable(stem + name) + ": " +
                     found_expected(shape_text(value.sizes().vec()) + " " + at::toString(value.scalar_type()),
                                    shape_text(shape) + " of a floating-point dtype"));
    };
    if (weight.dim() != 2 || !weight.is_floating_point()) {
      defects_.add(printable(target) + ": " + found_expected(shape_text(weight.sizes().vec()), "a matrix to adapt"));
      return;
    }
    demand(pair.a, ".lora_A.weight", {rank, weight.size(1)});
    demand(pair.b, ".lora_B.weight", {weight.size(0), rank});
  }

  TensorArchive archive_;
  double scaling_ = 0;
  std::map<std::string, LowRank> pairs_;     ///< by the name of the weight
  std::map<std::string, at::Tensor> whole_;  ///< fully trained tensors, by their names
  Defects defects_;
};

/// The folder of an output must not be the source nor lie in it.
void require_other_folder(const fs::path& source, const fs::path& output) {
  std::error_code ignored;
  const fs::path from = fs::weakly_canonical(source, ignored), to = fs::weakly_canonical(output, ignored);
  for (fs::path folder = to; folder != folder.parent_path(); folder = folder.parent_path())
    if (folder == from)
      throw InputError("output", found_expected(shown_path(output) + ", which lies in the source", "another folder"));
}

/// Which tensors a conversion holds in fewer bits.
struct QuantisedParts {
  std::optional<WeightFormat> llm;   ///< of the language model's projections
  std::optional<WeightFormat> head;  ///< of its head
  bool image_encoder = false;        ///< SAM's linear layers in int8
  dim image_encoder_blocks = 0;      ///< how many blocks it has

  /// The format of a weight; nothing for one that stays. @param name canonical
  [[nodiscard]] std::optional<WeightFormat> format_of(std::string_view name) const {
    if (is_llm_projection(name)) return llm;
    if (is_llm_head(name)) return head;
    if (image_encoder && is_quantised_in_image_encoder(name, image_encoder_blocks)) return WeightFormat::int8_row;
    return std::nullopt;
  }
};

/// The format that a tensor is brought into; nothing where it stays. @throws InputError where it is quantised already
std::optional<WeightFormat> wanted_format(const std::string& name, const at::Tensor& value,
                                          const QuantisedParts& parts) {
  const auto format = value.dim() == 2 ? parts.format_of(canonical_name(name)) : std::nullopt;
  if (format && is_quantised(value))
    throw InputError("weights", "tensor " + quoted(name) + ": " +
                                    found_expected("a tensor that is quantised already", "floating-point weights"));
  return value.is_floating_point() ? format : std::nullopt;
}

/// Name, dtype and shape of every tensor of the result.
std::vector<StoredTensor> planned_tensors(const TensorArchive& archive, Precision precision,
                                          const QuantisedParts& parts) {
  std::vector<StoredTensor> tensors;
  for (const auto& [name, tensor] : archive.tensors) {
    StoredTensor planned = describe(name, tensor.value);
    if (const auto format = wanted_format(name, tensor.value, parts)) {
      // Whether the format can hold such rows is found before anything is written.
      tensors.push_back(describe(name, quantised(tensor.value.narrow(0, 0, 0), *format)));
      tensors.back().shape[0] = tensor.value.size(0);
      continue;
    }
    if (precision != Precision::stored && tensor.value.is_floating_point()) {
      const c10::ScalarType stored = tensor.value.scalar_type();
      planned.dtype = stored_dtype(dtype_of(part_of(canonical_name(name)), precision, stored, stored)).value();
    }
    tensors.push_back(std::move(planned));
  }
  return tensors;
}

/// How many blocks SAM's image encoder has in a checkpoint.
dim image_encoder_blocks(const TensorArchive& archive) {
  dim blocks = 0;
  for (const auto& [name, tensor] : archive.tensors)
    if (const std::string canonical = canonical_name(name); is_image_encoder_linear(canonical))
      blocks = std::max(blocks, image_encoder_block(canonical) + 1);
  return blocks;
}

/// The name of the language model's dtype in config.json, where a conversion changes it.
std::optional<std::string_view> changed_torch_dtype(Precision precision) {
  if (precision == Precision::stored) return std::nullopt;
  return torch_dtype_name(dtype_of(Part::llm, precision, c10::kFloat, c10::kFloat));
}

/// The folder inside a checkpoint's own that its config.json names as the vision tower.
std::optional<std::string> inner_tower(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / "config.json", ignored)) return std::nullopt;
  const Json config = read_json(folder / "config.json");
  Defects defects;
  const auto name = JsonFields(config, defects).text("mm_vision_tower");
  if (!name || !detail::is_plain_file_name(*name) || !fs::is_directory(folder / *name, ignored)) return std::nullopt;
  return name;
}

struct Conversion {
  Precision precision;
  QuantisedParts quantised_parts;
  TensorFileFormat format;
  std::uint64_t max_shard_bytes;
  ArchiveOptions reading;
};

/// Converts the weights of one folder into an existing one and says in a line what it wrote.
std::string convert_weights(const fs::path& source, const fs::path& target, const Conversion& how,
                            const std::string& adapter_folder) {
  const TensorArchive archive = read_archive(source, how.reading);
  for (const std::string& warning : archive.warnings) print_warning(warning);
  std::optional<Adapter> adapter;
  if (!adapter_folder.empty()) adapter.emplace(adapter_folder, archive, how.reading);

  QuantisedParts parts = how.quantised_parts;
  parts.image_encoder_blocks = image_encoder_blocks(archive);
  const std::vector<StoredTensor> tensors = planned_tensors(archive, how.precision, parts);
  Progress progress("tensors converted", tensors.size());
  std::size_t done = 0;
  const auto convert_tensor = [&](const StoredTensor& wanted) {
    at::Tensor value = archive.tensors.at(wanted.name).value;
    if (adapter) value = adapter->apply(canonical_name(wanted.name), value);
    const auto format = wanted_format(wanted.name, value, parts);
    value = format ? quantised(value, *format) : value.to(scalar_type(wanted.dtype));
    progress.update(++done, printable(wanted.name));
    return value;
  };
  const auto files = write_sharded_tensors(target, tensors, how.format, how.max_shard_bytes, convert_tensor);
  archive.require_intact();
  if (adapter) adapter->archive().require_intact();
  return std::to_string(tensors.size()) + " tensors in " + std::to_string(files.size()) + " files" +
         (adapter ? ", " + std::to_string(adapter->merged()) + " changed by the adapter" : "");
}

void convert(const ConvertOptions& options) {
  const auto format = [](const std::string& name, const std::string& option) {
    return name.empty() ? std::nullopt : std::optional(parse_weight_format(name, option));
  };
  const auto image_encoder = format(options.image_encoder, "image-encoder-weights");
  if (image_encoder && image_encoder != WeightFormat::int8_row)
    throw InputError("image-encoder-weights", found_expected(options.image_encoder, "int8"));
  const Conversion how{.precision = parse_precision(options.dtype),
                       .quantised_parts = {.llm = format(options.weights, "weights"),
                                           .head = format(options.head, "head-weights"),
                                           .image_encoder = image_encoder.has_value()},
                       .format = parse_tensor_file_format(options.files.format),
                       .max_shard_bytes = parse_byte_size(options.files.max_shard_size),
                       .reading = {.verify_crc = !options.skip_crc}};
  const fs::path source = options.source;
  std::error_code ignored;
  if (!fs::is_directory(source, ignored))
    throw InputError("folder", found_expected(shown_path(source) + ", which is no folder", "a checkpoint folder"));
  require_other_folder(source, options.output);

  Stopwatch watch;
  StagedFolder folder(options.output);
  const std::string written = convert_weights(source, folder.path(), how, options.adapter);
  copy_side_files(source, folder.path(), changed_torch_dtype(how.precision));
  if (const auto tower = inner_tower(source)) {
    fs::create_directory(folder.path() / *tower);
    convert_weights(source / *tower, folder.path() / *tower, how, {});
    copy_side_files(source / *tower, folder.path() / *tower, changed_torch_dtype(how.precision));
  }
  folder.commit();
  std::cout << printable(options.output, 4096) << ": " << written << ", " << duration(watch.lap()) << "\n";
}

}  // namespace

void add_convert_command(CLI::App& app) {
  const auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "Write a checkpoint in another format, dtype or number of files");
  command->add_option("folder", options->source, "checkpoint or CLIP folder")->required();
  command->add_option("--output", options->output, "folder to write; new or empty")->required();
  command->add_option("--dtype", options->dtype, "stored, fp32, bf16, fp16 or mixed (bf16, SAM fp32)")
      ->capture_default_str();
  command->add_option("--weights", options->weights,
                      "hold the language model's projections in int8, int4, int4-128 (one scale for 128 weights) or "
                      "nf4; other parts stay");
  command->add_option("--head-weights", options->head,
                      "hold the language model's head in one of these formats as well; then only adapters train");
  command->add_option(
      "--image-encoder-weights", options->image_encoder,
      "int8: hold the linear layers of SAM's image encoder in 8 bits, but those of its last two blocks");
  command->add_option("--merge-adapter", options->adapter, "PEFT folder with a LoRA adapter to fold into the weights");
  command->add_flag("--skip-crc", options->skip_crc, "do not compare .bin records with their checksums");
  add_tensor_file_options(*command, options->files);
  command->footer(
      "Examples:\n  lisa convert LISA-7B-v1 --output LISA-7B-v1-safetensors\n"
      "  lisa convert LISA-7B-v1 --weights int4 --dtype bf16 --output LISA-7B-v1-int4\n"
      "  lisa convert LLaVA-7B --merge-adapter my-lora --dtype bf16 --max-shard-size 2GB --output merged");
  command->callback([options] { convert(*options); });
}

}  // namespace lisa::program
