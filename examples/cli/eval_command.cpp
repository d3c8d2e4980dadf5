#include "eval_command.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "answer_files.hpp"
#include "exit_code.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/data/tabletop/data_set.hpp"
#include "lisa/eval/evaluator.hpp"
#include "lisa/eval/object_lists.hpp"
#include "lisa/eval/record_file.hpp"
#include "lisa/eval/report_html.hpp"
#include "lisa/eval/summary.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "model_options.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

struct EvalOptions {
  ModelOptions model;
  AnswerOptions answer;
  std::string data;
  std::string set;
  std::string objects;
  std::string tabletop;
  std::size_t scenes = 300;
  int questions = 4;
  std::uint64_t scene_seed = 1;
  int side = 96;
  std::string mode = "both";
  std::string scores = "exact";
  std::size_t batch = 8;
  std::size_t limit = 0;
  std::int64_t smallest_mask = 1;
  std::size_t rank = 0;
  std::size_t world = 1;
  std::string output = "lisa-eval";
  std::size_t examples = 6;
  bool json = false;
  bool report = false;
  bool overwrite = false;
};

/// What the records of a folder depend on, with the number of samples.
nlohmann::ordered_json request_record(const EvalOptions& options, const DataSet& data) {
  return {{"model", options.model.model},
          {"adapter", options.model.adapter},
          {"conversation", options.model.conversation},
          {"dtype", options.model.dtype},
          {"data", options.data},
          {"set", data.name},
          {"samples", data.size},
          {"objects", options.objects},
          {"tabletop", options.tabletop},
          {"questions", options.tabletop.empty() ? 0 : options.questions},
          {"scene_seed", options.tabletop.empty() ? 0 : options.scene_seed},
          {"mode", options.mode},
          {"max_new_tokens", options.answer.max_new_tokens},
          {"temperature", options.answer.temperature},
          {"top_p", options.answer.top_p},
          {"top_k", options.answer.top_k},
          {"seed", options.answer.seed},
          {"segmentation", options.answer.segmentation},
          {"stop", options.answer.stop}};
}

/// Scenes of the built-in world with every kind of question that masks answer.
TabletopSettings tabletop_settings(const EvalOptions& options) {
  TabletopSettings settings;
  settings.scene.side = options.side;
  settings.style.naming_answers = true;
  settings.split = tabletop_split_of(options.tabletop);
  settings.seed = options.scene_seed;
  settings.scenes = options.scenes;
  settings.questions = options.questions;
  settings.shares = tabletop_mask_shares();
  return settings;
}

DataSet open_data(const EvalOptions& options) {
  if (options.tabletop.empty() == options.data.empty())
    throw InputError(
        "data", found_expected(options.data.empty() ? "neither --data nor --tabletop" : "both --data and --tabletop",
                               "one of the two"));
  if (!options.tabletop.empty()) return tabletop_data_set(tabletop_settings(options));
  OpenedDataSet opened = open_data_set(options.data, options.set, Purpose::evaluation);
  for (const std::string& warning : opened.warnings) print_warning(warning);
  DataSet data = std::move(opened.data_set);
  if (options.limit > 0) data.size = std::min(data.size, options.limit);
  if (data.size == 0) throw InputError(printable(data.name), "found no samples, expected at least one");
  return data;
}

EvaluationOptions evaluation_options(const EvalOptions& options) {
  EvaluationOptions evaluation{.teacher_forced = options.mode != "free-running",
                               .free_running = options.mode != "teacher-forced",
                               .batch = options.batch,
                               .seed = options.answer.seed};
  if (!options.objects.empty()) evaluation.objects = objects_from_json_lines(options.objects);
  if (!options.tabletop.empty()) evaluation.objects = tabletop_objects(tabletop_settings(options));
  return evaluation;
}

/// Makes the folder that of this evaluation, which an earlier run may have begun.
void claim_folder(const EvalOptions& options, const nlohmann::ordered_json& request) {
  const std::filesystem::path folder(options.output), path = folder / "evaluation.json";
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) throw IoError(printable(folder.string()), {}, "cannot make this folder: " + code.message());
  if (options.overwrite)
    for (const auto& file : record_files(folder)) std::filesystem::remove(file, code);
  const bool begun = std::filesystem::exists(path, code) && !record_files(folder).empty();
  if (!begun) return write_file(path, request.dump(2) + "\n");
  const Json earlier = read_json(path);
  Defects differences;
  for (const auto& [name, value] : request.items())
    if (!earlier.is_object() || !earlier.contains(name) || earlier.at(name) != Json::parse(value.dump()))
      differences.add(name + ": found " +
                      (earlier.is_object() && earlier.contains(name) ? printable(earlier.at(name).dump()) : "nothing") +
                      ", expected " + printable(value.dump()));
  if (!differences.empty())
    throw InputError(printable(path.string()), "evaluation",
                     differences.report("differences from this one") +
                         "\nGive another --output folder, or --overwrite to begin anew");
}

/// Evaluates what has no record yet; returns how many samples failed.
std::size_t evaluate_open_samples(const EvalOptions& options, const DataSet& data, const EvaluationOptions& evaluation,
                                  const std::vector<std::size_t>& open) {
  const std::unique_ptr<ModelSession> session = open_model(options.model);
  RecordWriter writer(record_path(options.output, {options.rank, options.world}));
  Progress progress("evaluated", open.size());
  std::size_t failed = 0;
  EvaluationObserver observer;
  observer.on_start = [&](std::size_t, std::size_t done) { progress.update(done); };
  observer.on_record = [&](const SampleRecord& record) {
    session->require_intact();
    writer.append(record);
  };
  observer.on_failure = [&](std::size_t index, const Error& error) {
    ++failed;
    print_error("sample " + std::to_string(index) + ": " + error.what());
  };
  Stopwatch watch;
  evaluate(session->evaluated_model(ask_options(options.answer)), data, open, evaluation, observer);
  progress.update(open.size());
  if (!options.json && open.size() > failed) {
    const double seconds = watch.lap();
    std::array<char, 64> rate{};
    std::snprintf(rate.data(), rate.size(), "%.2f", static_cast<double>(open.size() - failed) / seconds);
    std::fputs(("Evaluated " + std::to_string(open.size() - failed) + " samples in " + duration(seconds) + ", " +
                rate.data() + " a second\n")
                   .c_str(),
               stdout);
  }
  return failed;
}

std::string in_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (widths.size() <= c) widths.push_back(0);
      widths[c] = std::max(widths[c], printable(row[c]).size());
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string cell = printable(row[c]);
      line += cell + (c + 1 < row.size() ? std::string(widths[c] - cell.size() + 2, ' ') : std::string());
    }
    text += line + "\n";
  }
  return text;
}

void write_report(const EvalOptions& options, const DataSet& data, const EvaluationOptions& evaluation,
                  const SampleRecords& records, const std::vector<MethodSummary>& summaries, ScoreRule rule) {
  const Method method = evaluation.free_running ? Method::free_running : Method::teacher_forced;
  const Report report{.title = "Evaluation of " + std::filesystem::path(options.model.model).filename().string(),
                      .facts = {{"model", options.model.model},
                                {"data", options.data},
                                {"set", data.name},
                                {"samples", std::to_string(records.size())}},
                      .summaries = summaries,
                      .rule = rule,
                      .method = method,
                      .sections = choose_examples(records, method, options.examples)};
  write_file(
      std::filesystem::path(options.output) / "report.html",
      report_html(report, records, [&](std::size_t index) { return read_for_evaluation(data, index, evaluation); }));
}

/// Scores from the records of all processes. Returns false while some are missing, apart from this one's failures.
void conclude(const EvalOptions& options, const DataSet& data, const EvaluationOptions& evaluation) {
  const std::filesystem::path folder(options.output);
  const SampleRecords records = read_records(folder);
  const ScoreRule rule = options.scores == "original" ? ScoreRule::original : ScoreRule::exact;
  const std::vector<MethodSummary> summaries =
      summarize(records, {.seed = options.answer.seed, .smallest_area = options.smallest_mask});
  nlohmann::ordered_json summary = request_record(options, data);
  summary["evaluated"] = records.size();
  summary["complete"] = records.size() == data.size;
  summary["results"] = summaries_json(summaries);
  write_file(folder / "summary.json", summary.dump(2) + "\n");
  if (options.report) write_report(options, data, evaluation, records, summaries, rule);
  if (options.json) {
    std::fputs(json_line(summary).c_str(), stdout);
    return;
  }
  std::string text;
  if (records.size() < data.size)
    text += "Of " + std::to_string(data.size) + " samples " + std::to_string(records.size()) + " have records so far\n";
  text += in_columns(summary_table(summaries, rule));
  text += "Summary   " + (folder / "summary.json").string() + "\n";
  if (options.report) text += "Report    " + (folder / "report.html").string() + "\n";
  std::fputs(text.c_str(), stdout);
}

void eval(const EvalOptions& options) {
  (void)ask_options(options.answer);  // wrong options are found before anything is opened
  const SampleShare share{options.rank, options.world};
  validate(share);
  if (options.overwrite && options.world > 1)
    throw InputError("--overwrite", found_expected("it beside --world", "a single process, or another --output"));
  const DataSet data = open_data(options);
  const EvaluationOptions evaluation = evaluation_options(options);
  claim_folder(options, request_record(options, data));
  const SampleRecords known = read_records(options.output);
  const std::vector<std::size_t> open =
      open_samples(data.size, share, [&](std::size_t index) { return known.contains(index); });
  const std::size_t failed = open.empty() ? 0 : evaluate_open_samples(options, data, evaluation, open);
  conclude(options, data, evaluation);
  if (failed == 0) return;
  print_error(std::to_string(failed) + " samples failed and are not in the scores; the same command retries them");
  throw CLI::RuntimeError(static_cast<int>(ExitCode::incomplete));
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App& command = *app.add_subcommand("eval", "Score a model on a data set, next to baselines");
  command.add_option("--data", options->data, "folder in the original's layout, or a JSON-lines file")->group("Data");
  command
      .add_option("--set", options->set,
                  "set within the folder: \"ReasonSeg|val\", \"refcoco|unc|val\" ...; not for a JSON-lines file")
      ->group("Data");
  command.add_option("--objects", options->objects, "JSON-lines file of all objects, for baselines that name one")
      ->group("Data");
  command
      .add_option("--tabletop", options->tabletop,
                  "in place of files the built-in world, held out by scenes, combinations or paraphrases; its objects "
                  "are known to the baselines")
      ->group("Data");
  command.add_option("--scenes", options->scenes, "of the built-in world")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str()
      ->group("Data");
  command.add_option("--questions", options->questions, "about each of them, at most")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->group("Data");
  command.add_option("--side", options->side, "of their pictures, pixels")->capture_default_str()->group("Data");
  command.add_option("--scene-seed", options->scene_seed, "of their choice")->capture_default_str()->group("Data");
  command.add_option("--limit", options->limit, "only the first samples; 0: all")->group("Data");
  add_model_options(command, options->model);
  add_answer_options(command, options->answer);
  command.add_option("--mode", options->mode, "the model reads the right answers, gives its own, or both")
      ->check(CLI::IsMember({"teacher-forced", "free-running", "both"}))
      ->capture_default_str()
      ->group("Evaluation");
  command.add_option("--batch", options->batch, "questions about an image that run together")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str()
      ->group("Evaluation");
  command.add_option("--scores", options->scores, "exact: whole pixel counts; original: with the original's rounding")
      ->check(CLI::IsMember({"exact", "original"}))
      ->capture_default_str()
      ->group("Evaluation");
  command
      .add_option("--smallest-mask", options->smallest_mask,
                  "pixels below which a mask says that there is nothing, for N-acc and T-acc")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group("Evaluation");
  command.add_option("--rank", options->rank, "number of this process among several that share the samples")
      ->envname("RANK")
      ->capture_default_str()
      ->group("Evaluation");
  command.add_option("--world", options->world, "how many they are")
      ->envname("WORLD_SIZE")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group("Evaluation");
  command.add_option("--output", options->output, "folder for records, summary and report")
      ->capture_default_str()
      ->group("Output");
  command.add_flag("--report", options->report, "also write report.html with the best, middle and worst masks")
      ->group("Output");
  command.add_option("--examples", options->examples, "masks in each part of the report")
      ->capture_default_str()
      ->group("Output");
  command.add_flag("--json", options->json, "print the summary as one line of JSON, and nothing else")->group("Output");
  command.add_flag("--overwrite", options->overwrite, "forget the records of earlier runs")->group("Output");
  command.footer(
      "Examples:\n"
      "  lisa eval --model LISA-7B-v1 --data dataset --set \"ReasonSeg|val\" --mode teacher-forced --scores original\n"
      "  lisa eval --model my-lisa --data my-data.jsonl --objects objects.jsonl --report\n"
      "  lisa eval --model models/lisa-tiny --tabletop scenes\n"
      "A run that was stopped goes on with the same command: samples with a record in the output folder are skipped.");
  command.callback([options] { eval(*options); });
}

}  // namespace lisa::program
