#include "info_command.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "checkpoint_parts.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/checkpoint_folder.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/checkpoint/derive_spec.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/files/json.hpp"
#include "lisa/model/precision.hpp"
#include "lisa/text/tokenizer_files.hpp"
#include "spec_entry.hpp"
#include "spec_fit.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

namespace fs = std::filesystem;

struct InfoOptions {
  std::string model;
  std::string vision_tower;
  std::string adapter;
  std::string spec_folder;
  std::string struct_name = "MySpec";
  std::optional<dim> decoder_heads;
  bool json = false;
};

/// What a part holds, by stored dtype. A preset's parts have parameters and no dtype.
struct PartSummary {
  std::size_t tensors = 0;
  dim parameters = 0;
  std::uint64_t bytes = 0;
  std::map<StoredDtype, dim> stored;  ///< elements of each dtype

  /// The dtype of most elements.
  [[nodiscard]] std::optional<StoredDtype> main_dtype() const {
    std::optional<StoredDtype> most;
    for (const auto& [dtype, elements] : stored)
      if (!most || elements > stored.at(*most)) most = dtype;
    return most;
  }
};

struct Summary {
  explicit Summary(std::string of) : name(std::move(of)) {}

  std::string name;
  std::string architecture;
  std::vector<std::pair<std::string, std::uint64_t>> files;  ///< with their sizes
  std::map<Part, PartSummary> parts;
  std::string specification;  ///< the compiled one that fits; may be empty
  std::string closest;        ///< in words, when none fits
  std::vector<std::pair<std::string, std::int64_t>> token_ids;
  std::int64_t vocabulary = 0;
  std::vector<std::string> warnings;
};

std::string lower(std::string_view text) { return lower_case(std::string(text)); }

std::string name_of(StoredDtype dtype) {
  switch (dtype) {
    case StoredDtype::f32:
      return "fp32";
    case StoredDtype::f16:
      return "fp16";
    case StoredDtype::f64:
      return "fp64";
    default:
      return lower(info(dtype).safetensors_name);
  }
}

/// Bytes of all weights when the model runs in a precision; nothing for `stored` without files.
std::optional<std::uint64_t> memory(const Summary& summary, Precision precision) {
  std::uint64_t total = 0;
  const auto stored = [&](Part part) {
    const auto found = summary.parts.find(part);
    return found == summary.parts.end() ? std::nullopt : found->second.main_dtype();
  };
  for (const auto& [part, content] : summary.parts) {
    const auto own = stored(part);
    if (precision == Precision::stored && !own) return std::nullopt;
    const c10::ScalarType type = own ? scalar_type(*own) : c10::kFloat;
    const auto llm = stored(Part::llm);
    const auto dtype = stored_dtype(dtype_of(part, precision, type, llm ? scalar_type(*llm) : type));
    total += static_cast<std::uint64_t>(content.parameters) * info(dtype.value()).bytes;
  }
  return total;
}

std::string left(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}
std::string right(const std::string& text, std::size_t width) {
  return std::string(width > text.size() ? width - text.size() : 1, ' ') + text;
}
std::string millions(dim count) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f M", static_cast<double>(count) * 1e-6);
  return text.data();
}

std::string stored_text(const PartSummary& part) {
  std::string text;
  for (const auto& [dtype, elements] : part.stored) text += (text.empty() ? "" : ", ") + name_of(dtype);
  return text;
}

std::string text_of(const Summary& summary) {
  std::string text = printable(summary.name, 4096);
  if (!summary.architecture.empty()) text += " (" + printable(summary.architecture) + ")";
  text += "\n";
  for (const auto& [file, size] : summary.files) text += "  " + file + ", " + bytes(static_cast<double>(size)) + "\n";
  text += "\n" + left("part", 18) + right("tensors", 8) + right("parameters", 14) + right("stored", 14) +
          right("size", 12) + "\n";
  PartSummary total;
  const auto row = [](std::string_view name, const PartSummary& part) {
    return left(std::string(name), 18) + right(std::to_string(part.tensors), 8) + right(millions(part.parameters), 14) +
           right(part.stored.empty() ? "-" : stored_text(part), 14) +
           right(part.stored.empty() ? "-" : bytes(static_cast<double>(part.bytes)), 12) + "\n";
  };
  for (const auto& [part, content] : summary.parts) {
    text += row(to_string(part), content);
    total.tensors += content.tensors;
    total.parameters += content.parameters;
    total.bytes += content.bytes;
    for (const auto& [dtype, elements] : content.stored) total.stored[dtype] += elements;
  }
  text += row("total", total) + "\nmemory of the weights:";
  for (const auto& [precision, name] : precision_names)
    if (const auto size = memory(summary, precision))
      text += "  " + std::string(name) + " " + bytes(static_cast<double>(*size));
  text += "\n";
  if (!summary.specification.empty()) text += "specification: " + summary.specification + "\n";
  if (!summary.closest.empty()) text += "specification: " + summary.closest + "\n";
  if (summary.vocabulary > 0) {
    text += "tokenizer: " + std::to_string(summary.vocabulary) + " ids";
    for (const auto& [token, id] : summary.token_ids) text += ", " + token + " " + std::to_string(id);
    text += "\n";
  }
  return text;
}

Json json_of(const Summary& summary) {
  Json json{{"name", printable(summary.name, 4096)}, {"parts", Json::array()}, {"memory", Json::object()}};
  if (!summary.architecture.empty()) json["architecture"] = summary.architecture;
  for (const auto& [file, size] : summary.files) json["files"].push_back({{"file", file}, {"bytes", size}});
  for (const auto& [part, content] : summary.parts) {
    Json entry{{"part", to_string(part)}, {"tensors", content.tensors}, {"parameters", content.parameters}};
    if (!content.stored.empty()) {
      entry["bytes"] = content.bytes;
      for (const auto& [dtype, elements] : content.stored) entry["elements"][name_of(dtype)] = elements;
    }
    json["parts"].push_back(entry);
  }
  for (const auto& [precision, name] : precision_names)
    if (const auto size = memory(summary, precision)) json["memory"][std::string(name)] = *size;
  json["specification"] = summary.specification.empty() ? Json(nullptr) : Json(summary.specification);
  if (summary.vocabulary > 0) json["vocabulary"] = summary.vocabulary;
  for (const auto& [token, id] : summary.token_ids) json["token_ids"][token] = id;
  json["warnings"] = summary.warnings;
  return json;
}

std::vector<StoredTensor> all_tensors(const CheckpointContent& content) {
  std::vector<StoredTensor> tensors;
  for (const TensorFile& file : content.files) tensors.insert(tensors.end(), file.tensors.begin(), file.tensors.end());
  return tensors;
}

/// The CLIP folder: the one given, or the one that config.json names where that is a folder here.
std::optional<fs::path> find_tower(const fs::path& folder, const CheckpointConfig& config, const std::string& given) {
  if (!given.empty()) return given;
  if (config.vision_tower.empty()) return std::nullopt;
  for (const fs::path& candidate : {folder / config.vision_tower, fs::path(config.vision_tower)}) {
    std::error_code ignored;
    if (fs::is_directory(candidate, ignored)) return candidate;
  }
  return std::nullopt;
}

void add_files(Summary& summary, const CheckpointContent& content) {
  for (const TensorFile& file : content.files) {
    summary.files.emplace_back(file.file->name(), file.file->size());
    summary.warnings.insert(summary.warnings.end(), file.warnings.begin(), file.warnings.end());
  }
  summary.warnings.insert(summary.warnings.end(), content.warnings.begin(), content.warnings.end());
}

void add_parts(Summary& summary, const TensorTable& table) {
  for (const auto& [name, tensor] : table) {
    // A whole CLIPModel also has a text tower and projections, which LISA does not use.
    if (name.starts_with("text_model.") || name.starts_with("text_projection.") ||
        name.starts_with("visual_projection.") || name == "logit_scale")
      continue;
    const std::int64_t elements = element_count(tensor.shape).value_or(0);
    PartSummary& part = summary.parts[part_of(name)];
    ++part.tensors;
    part.parameters += elements;
    part.bytes += byte_count(tensor.shape, tensor.dtype).value_or(0);
    part.stored[tensor.dtype] += elements;
  }
}

/// Which compiled specification the checkpoint fits, or what keeps it from the closest.
void add_specification(Summary& summary, const CheckpointConfig& config, const TensorTable& table) {
  std::optional<Defects> fewest;
  std::string_view closest;
  for (const SpecEntry& entry : spec_entries()) {
    Defects differences = spec_differences(entry, config, table);
    if (differences.empty()) {
      summary.specification = entry.configs.name;
      return;
    }
    if (fewest && differences.count() >= fewest->count()) continue;
    fewest = std::move(differences);
    closest = entry.configs.name;
  }
  if (fewest) summary.closest = "none compiled in; " + fewest->report("differences from " + std::string(closest));
}

void add_tokenizer(Summary& summary, const fs::path& folder) {
  try {
    const Tokenizer tokenizer = load_tokenizer(folder);
    summary.vocabulary = tokenizer.vocab_size();
    for (const char* token : {"[SEG]", "<im_start>", "<im_end>"})
      if (const auto id = tokenizer.find(token))
        summary.token_ids.emplace_back(token, *id);
      else
        summary.warnings.push_back(shown_path(folder) + ": tokenizer: found no added token " + token +
                                   ", expected one in added_tokens.json");
  } catch (const Error& error) {
    summary.warnings.emplace_back(error.what());
  }
}

Summary summary_of_checkpoint(const InfoOptions& options) {
  const fs::path folder = options.model;
  std::error_code error;
  Summary summary{options.model};
  TensorTable table;
  const CheckpointContent content = open_checkpoint(folder, {.verify_crc = false});
  add_files(summary, content);
  add_tensors(table, all_tensors(content));
  if (!fs::is_directory(folder, error)) {  // one file of a checkpoint, or SAM's own
    add_parts(summary, table);
    return summary;
  }
  const CheckpointConfig config = read_checkpoint_config(folder);
  summary.architecture = config.architecture;
  if (const auto tower = find_tower(folder, config, options.vision_tower)) {
    const CheckpointContent tower_content = open_checkpoint(*tower, {.verify_crc = false});
    add_files(summary, tower_content);
    add_tensors(table, all_tensors(tower_content));
  }
  add_parts(summary, table);
  if (!summary.parts.contains(Part::vision_tower))
    summary.warnings.push_back(config.file + ": mm_vision_tower: " +
                               found_expected(quoted(config.vision_tower) + ", which is no folder here",
                                              "the CLIP folder; give it with --vision-tower"));
  add_specification(summary, config, table);
  add_tokenizer(summary, folder);
  return summary;
}

Summary summary_of_spec(const SpecEntry& spec) {
  Summary summary{std::string(spec.configs.name)};
  for (const ParameterInfo& parameter : spec.parameters()) {
    PartSummary& part = summary.parts[parameter.part];
    ++part.tensors;
    part.parameters += element_count(parameter.shape).value_or(0);
  }
  return summary;
}

void print(const Summary& summary, bool json) {
  for (const std::string& warning : summary.warnings) print_warning(warning);
  std::cout << (json ? json_of(summary).dump(2) + "\n" : text_of(summary));
}

void list_specs(bool json) {
  Json list = Json::array();
  std::string text =
      left("specification", 20) + right("parameters", 14) + right("mixed", 12) + right("fp32", 12) + "\n";
  for (const SpecEntry& entry : spec_entries()) {
    const Summary summary = summary_of_spec(entry);
    list.push_back(json_of(summary));
    dim total = 0;
    for (const auto& [part, content] : summary.parts) total += content.parameters;
    const auto size = [&](Precision precision) {
      return bytes(static_cast<double>(memory(summary, precision).value_or(0)));
    };
    text += left(summary.name, 20) + right(millions(total), 14) + right(size(Precision::mixed), 12) +
            right(size(Precision::fp32), 12) + "\n";
  }
  std::cout << (json ? list.dump(2) + "\n" : text);
}

/// The C++ header with the specification of a checkpoint of any sizes.
std::string header_of(const InfoOptions& options) {
  const fs::path folder = options.spec_folder;
  const CheckpointConfig config = read_checkpoint_config(folder);
  const auto tower = find_tower(folder, config, options.vision_tower);
  if (!tower)
    throw InputError(config.file, "mm_vision_tower",
                     found_expected(quoted(config.vision_tower) + ", which is no folder here",
                                    "the CLIP folder, whose config.json has the vision tower's sizes; give it with "
                                    "--vision-tower"));
  std::vector<StoredTensor> tensors = all_tensors(open_checkpoint(folder, {.verify_crc = false}));
  std::optional<LoraConfig> adapter;
  if (!options.adapter.empty()) {
    adapter = read_adapter_config(options.adapter);
    const std::vector<StoredTensor> more = all_tensors(open_checkpoint(options.adapter, {.verify_crc = false}));
    tensors.insert(tensors.end(), more.begin(), more.end());
  }
  const ClipConfig vision = read_clip_config(*tower);
  std::vector<StoredTensor> vision_tensors;
  if (!find_checkpoint_files(*tower).empty())
    vision_tensors = all_tensors(open_checkpoint(*tower, {.verify_crc = false}));
  const DerivedSpec spec = derive_spec({.folder = options.spec_folder,
                                        .config = config,
                                        .tensors = tensors,
                                        .vision = vision,
                                        .vision_tensors = vision_tensors,
                                        .adapter = adapter,
                                        .decoder_heads = options.decoder_heads});
  return spec_header(spec, options.struct_name);
}

void run(const InfoOptions& options) {
  if (!options.spec_folder.empty()) {
    if (!options.model.empty()) throw InputError("info", found_expected("a checkpoint and --spec", "one of them"));
    std::cout << header_of(options);
    return;
  }
  if (options.model.empty()) return list_specs(options.json);
  for (const SpecEntry& entry : spec_entries())
    if (entry.configs.name == options.model) return print(summary_of_spec(entry), options.json);
  print(summary_of_checkpoint(options), options.json);
}

}  // namespace

void add_info_command(CLI::App& app) {
  const auto options = std::make_shared<InfoOptions>();
  CLI::App* command = app.add_subcommand("info", "Show what a checkpoint or preset consists of");
  command->add_option("model", options->model, "checkpoint folder or file, or a preset; none lists the presets");
  command->add_option("--vision-tower", options->vision_tower, "CLIP folder; default: the one config.json names");
  command->add_flag("--json", options->json, "print JSON");
  const auto group = "Specification of a checkpoint";
  command->add_option("--spec", options->spec_folder, "print the C++ specification of this checkpoint folder")
      ->group(group);
  command->add_option("--name", options->struct_name, "name of the struct")->capture_default_str()->group(group);
  command->add_option("--decoder-heads", options->decoder_heads, "heads of SAM's mask decoder, which no shape tells")
      ->group(group);
  command->add_option("--adapter", options->adapter, "PEFT folder with the checkpoint's LoRA adapter")->group(group);
  command->footer(
      "Examples:\n  lisa info lisa-7b\n  lisa info LISA-7B-v1 --vision-tower clip-vit-large-patch14\n"
      "  lisa info --spec my-checkpoint --vision-tower my-clip --name MySpec > my_spec.hpp\n"
      "The header goes to lisa_add_program(my-lisa HEADER my_spec.hpp SPEC MySpec), see docs/variants.md.");
  command->callback([options] { run(*options); });
}

}  // namespace lisa::program
