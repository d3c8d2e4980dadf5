#include "model_options.hpp"

#include <ATen/Parallel.h>

#include <array>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/checkpoint_folder.hpp"
#include "lisa/checkpoint/config_json.hpp"
#include "lisa/gpu/require_device.hpp"
#include "lisa/train/process_device.hpp"
#include "process_group.hpp"
#include "spec_fit.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

constexpr std::array<std::pair<std::string_view, Segmentation>, 3> segmentation_names{
    {{"automatic", Segmentation::automatic}, {"forced", Segmentation::forced}, {"off", Segmentation::off}}};

std::string known_specs(const std::vector<SpecEntry>& entries) {
  std::string names;
  for (const SpecEntry& entry : entries) names += (names.empty() ? "" : ", ") + std::string(entry.configs.name);
  return names;
}

/// Of specifications with the same config.json (SAM's size stands in none), the one that the tensors fit.
const SpecEntry& choose_by_tensors(const std::vector<const SpecEntry*>& entries, const CheckpointConfig& config,
                                   const std::string& folder) {
  TensorTable table;
  for (const TensorFile& file : open_checkpoint(folder, {.verify_crc = false}).files) add_tensors(table, file.tensors);
  for (const SpecEntry* entry : entries)
    if (spec_differences(*entry, config, table).empty()) return *entry;
  return *entries.front();
}

c10::Device parse_device(const std::string& name) {
  try {
    return c10::Device(name);
  } catch (const std::exception&) {
    throw InputError("device", found_expected(quoted(name), "cpu or cuda[:index]"));
  }
}

/// The device that is named; of several processes each takes a GPU of its own where none is.
c10::Device choose_device(const std::string& name) {
  const c10::Device device = parse_device(name);
  const c10::Device own = device.is_cuda() && !device.has_index() ? process_device(device, launched_place()) : device;
  require_device(own);
  return own;
}

}  // namespace

SpecEntry choose_spec(const ModelOptions& options) {
  const std::vector<SpecEntry> entries = spec_entries();
  if (!options.spec.empty()) {
    for (const SpecEntry& entry : entries)
      if (entry.configs.name == options.spec) return entry;
    throw InputError("spec", found_expected(quoted(options.spec), "one of " + known_specs(entries)));
  }
  const CheckpointConfig config = read_checkpoint_config(options.model);
  std::vector<const SpecEntry*> fitting;
  const SpecEntry* closest = nullptr;
  std::size_t fewest = 0;
  for (const SpecEntry& entry : entries) {
    const std::size_t differences = config_differences(entry.configs, config).count();
    if (differences == 0) fitting.push_back(&entry);
    if (closest == nullptr || differences < fewest) {
      closest = &entry;
      fewest = differences;
    }
  }
  if (fitting.size() == 1) return *fitting.front();
  if (!fitting.empty()) return choose_by_tensors(fitting, config, options.model);
  throw MismatchError(config.file, "specification",
                      "found numbers that none of " + known_specs(entries) + " has; " +
                          config_differences(closest->configs, config)
                              .report("differences from " + std::string(closest->configs.name)) +
                          "\nTo run it, print its specification with `lisa info --spec " + options.model +
                          "` and build a program for it with lisa_add_program (docs/variants.md)");
}

void add_model_options(CLI::App& command, ModelOptions& options, bool required) {
  const auto group = "Model";
  command.add_option("--model", options.model, "LISA checkpoint folder")->required(required)->group(group);
  command.add_option("--vision-tower", options.vision_tower, "CLIP folder; default: the one config.json names")
      ->group(group);
  command.add_option("--sam", options.sam, "SAM's own .pth, when the checkpoint lacks it")->group(group);
  command.add_option("--adapter", options.adapter, "PEFT folder with a LoRA adapter")->group(group);
  command.add_flag("--separate-adapter", options.separate_adapter, "compute the adapter beside the weights, unmerged")
      ->group(group);
  command.add_option("--spec", options.spec, "specification to load with; default: the one that fits")->group(group);
  command.add_option("--conversation", options.conversation, "prompt template: llava_v1 or llava_llama_2")
      ->capture_default_str()
      ->group(group);
  command.add_option("--dtype", options.dtype, "stored, fp32, bf16, fp16 or mixed (bf16, SAM fp32)")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag("--fp32-positional-encoding", options.fp32_positional_encoding,
                "SAM's positional encoding in fp32 also in bf16 (the original rounds it)")
      ->group(group);
  command.add_option("--device", options.device, "cpu or cuda[:index]; of several processes each takes its own GPU")
      ->capture_default_str()
      ->group(group);
  command.add_option("--threads", options.threads, "threads for matrix products; 0: all cores")
      ->check(CLI::Range(0, 4096))
      ->group(group);
  command.add_flag("--skip-crc", options.skip_crc, "do not compare .bin records with their checksums")->group(group);
  command.add_flag("--check-finite", options.check_finite, "refuse NaN and infinite weights")->group(group);
}

LoadOptions load_options(const ModelOptions& options) {
  return {.vision_tower = options.vision_tower,
          .sam = options.sam,
          .adapter = options.adapter,
          .merge_adapter = !options.separate_adapter,
          .precision = parse_precision(options.dtype),
          .fp32_positional_encoding = options.fp32_positional_encoding,
          .device = choose_device(options.device),
          .verify_crc = !options.skip_crc,
          .check_finite = options.check_finite};
}

std::unique_ptr<ModelSession> open_model(const ModelOptions& options) {
  if (options.threads > 0) at::set_num_threads(options.threads);
  const LoadOptions load = load_options(options);
  const ConversationTemplate& style = conversation_template(options.conversation);
  auto session = choose_spec(options).open(options.model, load, style);
  for (const std::string& warning : session->warnings()) print_warning(warning);
  return session;
}

void add_image_memory_options(CLI::App& command, ImageMemoryOptions& options) {
  const auto group = "Model";
  command
      .add_option("--image-memory", options.megabytes,
                  "MB for images seen before, with what the model knows of them; 0 keeps none")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str()
      ->group(group);
  command.add_option("--feature-cache", options.folder, "folder that keeps the features of images for later runs")
      ->group(group);
}

void keep_images(ModelSession& session, const ImageMemoryOptions& options) {
  session.keep_images(static_cast<std::size_t>(options.megabytes * 1e6), options.folder);
}

void add_answer_options(CLI::App& command, AnswerOptions& options) {
  const auto group = "Answer";
  command.add_option("--max-new-tokens", options.max_new_tokens, "longest answer")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()))
      ->capture_default_str()
      ->group(group);
  command.add_option("--temperature", options.temperature, "0 is greedy")->capture_default_str()->group(group);
  command.add_option("--top-p", options.top_p, "keep the most probable tokens up to this sum")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-k", options.top_k, "keep this many tokens; 0: all")->capture_default_str()->group(group);
  command.add_option("--seed", options.seed, "of the random numbers")->capture_default_str()->group(group);
  command
      .add_option("--segmentation", options.segmentation,
                  "automatic, forced (an answer without [SEG] gets one) or off (text only)")
      ->capture_default_str()
      ->group(group);
  command.add_option("--stop", options.stop, "end the answer before this text; may be repeated")->group(group);
  CLI::Option* const drafts =
      command
          .add_option("--draft", options.drafts,
                      "a likely answer, tried out together with the question to save time; the answer stays the same; "
                      "may be repeated; default: LISA's usual sentences")
          ->group(group);
  command.add_flag("--no-drafts", options.no_drafts, "try out no likely answers")->excludes(drafts)->group(group);
}

AskOptions ask_options(const AnswerOptions& options) {
  AskOptions ask;
  ask.sampling = {
      .temperature = options.temperature, .top_p = options.top_p, .top_k = options.top_k, .seed = options.seed};
  validate(ask.sampling);
  ask.max_new_tokens = options.max_new_tokens;
  ask.stop = options.stop;
  if (!options.drafts.empty() || options.no_drafts) ask.drafts = options.drafts;
  for (const auto& [name, value] : segmentation_names) {
    if (name != options.segmentation) continue;
    ask.segmentation = value;
    return ask;
  }
  throw InputError("segmentation", found_expected(quoted(options.segmentation), "automatic, forced or off"));
}

}  // namespace lisa::program
