#include "train_command.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "exit_code.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/split_at.hpp"
#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/checkpoint/write_config.hpp"
#include "lisa/config/presets.hpp"
#include "lisa/data/tabletop/wording.hpp"
#include "lisa/text/write_tokenizer.hpp"
#include "lisa/train/memory_plan.hpp"
#include "lisa/train/product_precision.hpp"
#include "model_options.hpp"
#include "process_group.hpp"
#include "staged_folder.hpp"
#include "terminal.hpp"
#include "train_data.hpp"
#include "training_job.hpp"

namespace lisa::program {
namespace {

struct TrainOptions {
  ModelOptions model;
  TrainingDataOptions data;
  TrainingRunOptions run;
  bool from_scratch = false;
  std::string parts = "lisa";
  std::string decay = "linear";
  std::string schedule_start = "warm";
  std::string averaging = "step";
  std::string output = "lisa-train";
  std::string checkpoint;
  std::string checkpoint_dtype = "fp32";
  std::int64_t steps = 5000;
  std::uint64_t seed = 1;
  bool keep_activations = false;
  bool bf16_products = false;
  bool plan = false;
  int processes = 1;
  bool json = false;
};

/// The parts that a model can train, by the names of the option.
constexpr std::array<std::pair<std::string_view, bool TrainableParts::*>, 9> part_names{
    {{"lora", &TrainableParts::lora},
     {"lm_head", &TrainableParts::lm_head},
     {"embed_tokens", &TrainableParts::embed_tokens},
     {"llm", &TrainableParts::llm},
     {"vision_tower", &TrainableParts::vision_tower},
     {"visual_projector", &TrainableParts::visual_projector},
     {"seg_projector", &TrainableParts::seg_projector},
     {"image_encoder", &TrainableParts::image_encoder},
     {"mask_decoder", &TrainableParts::mask_decoder}}};

/// "lisa", "everything", or names separated by commas. @throws InputError
TrainableParts parse_parts(const std::string& text) {
  if (text == "lisa") return lisa_recipe;
  if (text == "everything") return everything;
  TrainableParts parts;
  for (const std::string& name : split_at(text, ",")) {
    const auto* const known =
        std::find_if(part_names.begin(), part_names.end(), [&](const auto& part) { return part.first == name; });
    if (known == part_names.end()) {
      std::string all = "lisa, everything, or of";
      for (const auto& part : part_names) all += " " + std::string(part.first);
      throw InputError("--train", found_expected(quoted(name), all + ", separated by commas"));
    }
    parts.*known->second = true;
  }
  return parts;
}

template <class Value, std::size_t Count>
Value named(const std::string& option, const std::string& name,
            const std::array<std::pair<std::string_view, Value>, Count>& values) {
  std::string all;
  for (const auto& [known, value] : values) {
    if (known == name) return value;
    all += (all.empty() ? "" : ", ") + std::string(known);
  }
  throw InputError(option, found_expected(quoted(name), "one of " + all));
}

/// Everything that first values come from, for a run that goes on to have in common with the one before.
std::string source_of(const ModelOptions& model) {
  std::string source = model.model;
  for (const auto& [name, folder] : {std::pair{"vision tower", &model.vision_tower}, std::pair{"SAM", &model.sam},
                                     std::pair{"adapter", &model.adapter}})
    if (!folder->empty()) source += ", " + std::string(name) + " " + *folder;
  return source;
}

/// What the options say about steps, in the library's words.
TrainingRunOptions run_options(const TrainOptions& options) {
  TrainingRunOptions run = options.run;
  run.folder = options.output;
  run.trainer.parts = parse_parts(options.parts);
  run.trainer.gradient_checkpointing = !options.keep_activations;
  run.trainer.seed = options.seed;
  run.trainer.schedule.total = options.steps;
  run.trainer.schedule.decay =
      named("--decay", options.decay,
            std::array<std::pair<std::string_view, Decay>, 3>{
                {{"linear", Decay::linear}, {"cosine", Decay::cosine}, {"constant", Decay::constant}}});
  run.trainer.schedule.start = named(
      "--schedule-start", options.schedule_start,
      std::array<std::pair<std::string_view, ScheduleStart>, 3>{{{"warm", ScheduleStart::warm},
                                                                 {"deepspeed-0.10", ScheduleStart::deepspeed_0_10},
                                                                 {"deepspeed-0.15", ScheduleStart::deepspeed_0_15}}});
  run.trainer.averaging = named("--averaging", options.averaging,
                                std::array<std::pair<std::string_view, LossAveraging>, 2>{
                                    {{"step", LossAveraging::step}, {"micro-batch", LossAveraging::micro_batch}}});
  run.broken = options.data.skip_broken == "skip" ? BrokenSamples::skip : BrokenSamples::stop;
  run.style = conversation_template(options.model.conversation);
  run.facts = {{"train", options.parts},
               {"dtype", options.model.dtype},
               {"model", source_of(options.model)},
               {"from_scratch", options.from_scratch},
               {"batch", run.batch},
               {"accumulation", run.accumulation},
               {"averaging", options.averaging},
               {"schedule_start", options.schedule_start},
               {"questions", options.data.questions},
               {"tabletop", options.data.tabletop},
               {"descriptions", options.data.tabletop.empty() ? 0 : options.data.descriptions},
               {"initial_seed", options.seed}};
  return run;
}

/// What the run will hold in memory, for the specification's numbers.
std::string memory_plan_text(const TrainOptions& options, const SpecConfigs& spec, int processes) {
  const bool fp32 = options.model.dtype == "fp32" || options.from_scratch;
  const MemoryPlan plan =
      plan_memory(spec, parse_parts(options.parts),
                  {.batch = options.run.batch,
                   .dialogues = static_cast<dim>(options.data.questions),
                   .positions = std::min(options.run.max_positions, spec.llm.context),
                   .element_bytes = fp32 ? 4 : 2,
                   .processes = processes,
                   .gradient_checkpointing = !options.keep_activations,
                   .sharded_states = options.run.trainer.sharded_states,
                   .cache_workers = options.run.feature_cache.empty() ? 0 : dim{options.run.loader.threads}});
  return "Memory of one of " + std::to_string(processes) + " processes, " + std::string(spec.name) + ":\n" +
         to_text(plan);
}

/// A folder with config and tokenizer for a model that has no weights yet: its tokenizer knows the words of LISA's
/// prompts and of the tabletop world.
std::string write_untrained_folder(const std::filesystem::path& folder, const SpecConfigs& spec) {
  const std::filesystem::path tower = folder / "vision_tower";
  std::error_code error;
  std::filesystem::create_directories(tower, error);
  if (error) throw IoError(printable(tower.string()), {}, "cannot make this folder: " + error.message());
  std::vector<std::string> words = lisa_prompt_words();
  for (std::string& word : tabletop_words()) words.push_back(std::move(word));
  write_tokenizer(folder, words, spec.llm.vocab, spec.llm.context);
  write_checkpoint_config(folder, spec, "float32", "vision_tower");
  write_tower_config(tower, spec.vision);
  return folder.string();
}

/// Set by SIGINT and SIGTERM: the run then ends with a saved state.
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only set a lock-free flag");

void stop_on_signals() {
  for (const int signal : {SIGINT, SIGTERM})
    std::signal(signal, [](int number) {
      if (interrupted.exchange(true)) {  // asked twice: at once
        std::signal(number, SIG_DFL);
        std::raise(number);
      }
    });
}

void say(const TrainOptions& options, const std::string& line) {
  if (options.json) return;
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

std::string percent(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", 100 * value);
  return text.data();
}

/// What a person sees of the run.
TrainingObserver observer_of(const TrainOptions& options, StatusLine& status, ProgressLine& progress) {
  TrainingObserver observer;
  observer.on_start = [&options](std::int64_t done, const std::vector<std::string>& messages) {
    for (const std::string& message : messages) print_warning(message);
    if (done > 0) say(options, "Goes on after step " + std::to_string(done));
  };
  observer.on_step = [&options, &status, &progress](const StepReport& report) {
    progress.add(report);
    status.update(progress.text(), report.step == options.steps);
  };
  observer.on_validation = [&options, &status](std::int64_t epoch, const SegmentationScore& score, bool best) {
    status.clear();
    say(options, "Epoch " + std::to_string(epoch) + ": gIoU " + percent(score.giou) + ", cIoU " + percent(score.ciou) +
                     (best ? ", the best so far" : ""));
  };
  observer.on_skipped = [&status](const std::string& message) {
    status.clear();
    print_warning("skipped " + message);
  };
  return observer;
}

void report(const TrainOptions& options, const TrainingOutcome& outcome, const std::string& checkpoint) {
  if (options.json) {
    nlohmann::ordered_json line{{"steps", outcome.steps}, {"finished", outcome.finished}};
    if (outcome.best_score) line["best_giou"] = *outcome.best_score;
    if (outcome.finished) line["checkpoint"] = checkpoint;
    std::fputs((line.dump() + "\n").c_str(), stdout);
    return;
  }
  if (!outcome.finished)
    return say(options,
               "Stopped after step " + std::to_string(outcome.steps) + "; the same command goes on from there");
  say(options, "Trained " + std::to_string(outcome.steps) + " steps" +
                   (outcome.best_score ? ", best gIoU " + percent(*outcome.best_score) : "") + "\nModel     " +
                   printable(checkpoint, 4096) + "\nLog       " +
                   printable((std::filesystem::path(options.output) / "log.jsonl").string(), 4096));
}

SpecEntry spec_of(const TrainOptions& options) {
  if (options.model.model.empty() && options.model.spec.empty())
    throw InputError("--model", found_expected("neither it nor --spec",
                                               "a checkpoint, or with --from-scratch or --plan "
                                               "the name of a specification"));
  if (!options.plan && options.model.model.empty() && !options.from_scratch)
    throw InputError("--model", found_expected("none", "a checkpoint to begin with, or --from-scratch"));
  if (options.from_scratch && !options.model.model.empty())
    throw InputError("--from-scratch", found_expected("it beside --model", "one of the two"));
  return choose_spec(options.model);
}

/// What a plan is about. It needs numbers alone: those of every preset are known to programs built for others too.
SpecConfigs planned_configs(const TrainOptions& options) {
  const std::vector<SpecEntry> entries = spec_entries();
  const bool own = std::any_of(entries.begin(), entries.end(),
                               [&](const SpecEntry& entry) { return entry.configs.name == options.model.spec; });
  SpecConfigs preset;
  if (!own && visit_preset(options.model.spec, [&]<class Spec>() { preset = spec_configs<Spec>(); })) return preset;
  return spec_of(options).configs;
}

void train(TrainOptions options) {
  options.model.separate_adapter = true;  // what is trained further stays an adapter until the checkpoint is written
  if (options.plan) {
    std::fputs(memory_plan_text(options, planned_configs(options), options.processes).c_str(), stdout);
    return;
  }
  const SpecEntry spec = spec_of(options);
  if (options.model.threads > 0) at::set_num_threads(options.model.threads);
  if (options.bf16_products) allow_bf16_products(true);
  const LoadOptions load = load_options(options.model);  // before the others are met: a missing GPU needs no group
  const std::unique_ptr<ProcessGroup> group = join_launched_group();
  const bool first = group->rank() == 0;
  TrainingJob job;
  job.from_scratch = options.from_scratch;
  job.seed = options.seed;
  job.run = run_options(options);
  job.load = load;
  job.checkpoint = options.checkpoint.empty() ? std::filesystem::path(options.output) / "checkpoint"
                                              : std::filesystem::path(options.checkpoint);
  job.checkpoint_dtype = named("--checkpoint-dtype", options.checkpoint_dtype,
                               std::array<std::pair<std::string_view, c10::ScalarType>, 3>{
                                   {{"fp32", c10::kFloat}, {"bf16", c10::kBFloat16}, {"fp16", c10::kHalf}}});
  TrainingData data = open_training_data(
      options.data, static_cast<int>(spec.configs.sam.image),
      static_cast<std::uint64_t>(options.steps * options.run.batch * options.run.accumulation), options.seed);
  job.source = std::move(data.source);
  job.validation = data.validation ? &*data.validation : nullptr;
  job.model = options.model.model;
  // The checkpoint is written last: whether it can be must be known before the work, and before a large model is read.
  std::error_code unreachable;
  if (first && !std::filesystem::exists(job.checkpoint, unreachable)) StagedFolder{job.checkpoint};
  if (options.from_scratch) {
    const std::filesystem::path start = std::filesystem::path(options.output) / "start";
    if (first) write_untrained_folder(start, spec.configs);
    group->barrier();
    job.model = start.string();
  }
  StatusLine status;
  ProgressLine progress(options.steps);
  if (first) {
    for (const std::string& warning : data.warnings) print_warning(warning);
    say(options, memory_plan_text(options, spec.configs, group->size()));
    job.observer = observer_of(options, status, progress);
    job.on_initialised = [&options](const std::vector<std::string>& names) {
      if (!names.empty())
        say(options, std::to_string(names.size()) + " tensors begin with random values, " + printable(names.front()) +
                         (names.size() > 1 ? " the first of them" : ""));
    };
  }
  stop_on_signals();
  job.run.stop = [] { return interrupted.load(); };
  const TrainingOutcome outcome = spec.train(job, *group);
  status.clear();
  if (first) report(options, outcome, job.checkpoint.string());
  if (!outcome.finished) throw CLI::RuntimeError(static_cast<int>(ExitCode::incomplete));
}

void add_step_options(CLI::App& command, TrainOptions& options) {
  const auto group = "Training";
  TrainingRunOptions& run = options.run;
  command.add_option("--train", options.parts, "parts that train: lisa (the paper's), everything, or a list of names")
      ->capture_default_str()
      ->group(group);
  const auto number = [&](const char* name, auto& value, const char* meaning) {
    return command.add_option(name, value, meaning)->capture_default_str()->group(group);
  };
  number("--steps", options.steps, "of the optimiser")->check(CLI::PositiveNumber);
  number("--batch", run.batch, "images of a micro-batch")->check(CLI::PositiveNumber);
  number("--accumulation", run.accumulation, "micro-batches of a step")->check(CLI::PositiveNumber);
  number("--learning-rate", run.trainer.schedule.peak, "the highest");
  number("--warmup", run.trainer.schedule.warmup, "steps of its rise");
  number("--decay", options.decay, "of the rate: linear, cosine or constant");
  number("--schedule-start", options.schedule_start, "warm, or deepspeed-0.10, deepspeed-0.15 as the original ran");
  number("--weight-decay", run.trainer.optimiser.weight_decay, "AdamW's");
  number("--beta1", run.trainer.optimiser.beta1, "AdamW's");
  number("--beta2", run.trainer.optimiser.beta2, "AdamW's");
  number("--max-gradient-norm", run.trainer.max_gradient_norm, "larger gradients are scaled down");
  number("--ce-weight", run.trainer.weights.ce, "of the text's loss");
  number("--bce-weight", run.trainer.weights.bce, "of the masks' binary cross entropy");
  number("--dice-weight", run.trainer.weights.dice, "of the masks' DICE");
  number("--averaging", options.averaging, "of losses: over the step, or micro-batch by micro-batch as the original");
  number("--max-positions", run.max_positions, "longest conversation, image included")->check(CLI::PositiveNumber);
  number("--train-seed", options.seed, "of first values, order of samples and dropout");
  command.add_flag("--keep-activations", options.keep_activations, "more memory, less time: no gradient checkpointing")
      ->group(group);
  command.add_flag("--shard-states", run.trainer.sharded_states, "optimiser states spread over the processes")
      ->group(group);
  command
      .add_option("--feature-cache", run.feature_cache,
                  "folder that keeps what the frozen vision tower and image encoder make of each image")
      ->group(group);
  command.add_flag("--bf16-products", options.bf16_products, "round operands of fp32 products to bf16 on the CPU")
      ->group(group);
  number("--workers", run.loader.threads, "threads that prepare samples")->check(CLI::PositiveNumber);
  number("--prefetch", run.loader.prefetch, "samples prepared ahead")->check(CLI::PositiveNumber);
}

void add_run_options(CLI::App& command, TrainOptions& options) {
  const auto group = "Run";
  TrainingRunOptions& run = options.run;
  command.add_option("--output", options.output, "folder of the run; an interrupted run in it goes on")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--checkpoint", options.checkpoint, "folder for the trained model; default: checkpoint/ in --output")
      ->group(group);
  command.add_option("--checkpoint-dtype", options.checkpoint_dtype, "fp32, bf16 or fp16")
      ->capture_default_str()
      ->group(group);
  command.add_option("--steps-per-epoch", run.steps_per_epoch, "between validations")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  command.add_option("--save-every", run.save_every, "steps between states; 0: once an epoch")
      ->capture_default_str()
      ->group(group);
  command.add_option("--keep-last", run.retention.last, "states that stay, beside the best")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  command.add_option("--pictures", run.pictures, "validation samples drawn each epoch")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--state-sums", run.state_sums, "log a checksum of weights and moments after each step")
      ->group(group);
  command.add_flag("--plan", options.plan, "print what the run would hold in memory, and end")->group(group);
  command.add_option("--processes", options.processes, "for --plan: how many share the work")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command.add_flag("--json", options.json, "print how the run ended as a line of JSON, and nothing else")->group(group);
}

}  // namespace

void add_train_command(CLI::App& app) {
  const auto options = std::make_shared<TrainOptions>();
  CLI::App& command = *app.add_subcommand("train", "Train a model, from scratch or further");
  add_model_options(command, options->model, /*required=*/false);
  command.add_flag("--from-scratch", options->from_scratch, "begin with random weights of --spec")->group("Model");
  add_training_data_options(command, options->data);
  add_step_options(command, *options);
  add_run_options(command, *options);
  command.footer(
      "Examples:\n"
      "  lisa train --model models/lisa-tiny --data own.jsonl --val-data own-val.jsonl --steps 300 --batch 8\n"
      "  lisa train --model LISA-7B-v1 --dtype bf16 --data dataset --val-set \"ReasonSeg|val\"\n"
      "  torchrun --no-python --nproc-per-node 2 lisa train --model LISA-7B-v1 --data dataset --shard-states\n"
      "  lisa train --plan --spec lisa-7b --processes 8 --shard-states\n"
      "A run that was stopped, by Ctrl-C too, goes on with the same command. docs/training.md tells more.");
  command.callback([options] { train(*options); });
}

}  // namespace lisa::program
