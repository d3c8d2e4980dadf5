#include "segment_command.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "answer_files.hpp"
#include "exit_code.hpp"
#include "jobs.hpp"
#include "lisa/base/stopwatch.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/read_image.hpp"
#include "model_options.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

struct SegmentOptions {
  ModelOptions model;
  ImageMemoryOptions memory;
  AnswerOptions answer;
  std::vector<std::string> images;
  std::string prompt;
  std::string jobs;
  std::string output = "lisa-output";
  std::string dump;
  std::string force_answer;
  bool json = false;
  bool logits = false;
  bool polygons = false;
  bool no_overlay = false;
  bool overwrite = false;
};

std::vector<Job> collect_jobs(const SegmentOptions& options) {
  if (!options.jobs.empty()) {
    if (!options.images.empty() || !options.prompt.empty())
      throw InputError("--jobs", "found --image or --prompt beside it, expected either a job list or image and prompt");
    return jobs_from_file(options.jobs);
  }
  if (options.images.empty()) throw InputError("--image", "found none, expected an image to ask about (or --jobs)");
  if (options.prompt.empty()) throw InputError("--prompt", "found none, expected a question");
  return jobs_for_images(options.images, options.prompt);
}

/// What an answer and its files depend on: a record with an equal request needs no second run.
nlohmann::ordered_json request_record(const Job& job, const SegmentOptions& options) {
  return {{"model", options.model.model},
          {"vision_tower", options.model.vision_tower},
          {"sam", options.model.sam},
          {"adapter", options.model.adapter},
          {"spec", options.model.spec},
          {"image", job.image},
          {"prompt", job.prompt},
          {"conversation", options.model.conversation},
          {"dtype", options.model.dtype},
          {"fp32_positional_encoding", options.model.fp32_positional_encoding},
          {"max_new_tokens", options.answer.max_new_tokens},
          {"temperature", options.answer.temperature},
          {"top_p", options.answer.top_p},
          {"top_k", options.answer.top_k},
          {"seed", options.answer.seed},
          {"segmentation", options.answer.segmentation},
          {"stop", options.answer.stop},
          {"force_answer", options.force_answer},
          {"logits", options.logits},
          {"polygons", options.polygons},
          {"overlay", !options.no_overlay}};
}

std::filesystem::path record_path(const Job& job, const SegmentOptions& options) {
  return std::filesystem::path(options.output) / (job.id + ".json");
}

/// Whether the output folder holds this job's record, which is written after all its files.
bool is_done(const Job& job, const SegmentOptions& options) {
  const std::filesystem::path path = record_path(job, options);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  try {
    const Json record = read_json(path);
    return record.is_object() && record.contains("request") &&
           Json::parse(request_record(job, options).dump()) == record.at("request");
  } catch (const Error&) {
    return false;  // an unreadable record is written anew
  }
}

/// What an earlier run has not answered. A single question is always answered.
std::vector<Job> jobs_left(std::vector<Job> jobs, const SegmentOptions& options) {
  if (jobs.size() == 1 || options.overwrite) return jobs;
  const std::size_t all = jobs.size();
  std::erase_if(jobs, [&](const Job& job) { return is_done(job, options); });
  if (jobs.size() < all)
    print_warning(std::to_string(all - jobs.size()) + " of " + std::to_string(all) +
                  " jobs were answered by an earlier run and are skipped (--overwrite answers them anew)");
  return jobs;
}

/// Answers jobs one after another; the image of the job before is kept.
class JobRunner {
 public:
  JobRunner(ModelSession& session, const SegmentOptions& options) : session_(session), options_(options) {}

  void run(const Job& job) {
    if (job.image != current_image_) {
      current_image_.clear();
      image_ = read_image(job.image);
      session_.set_image(image_, EncoderStart::beside);
      current_image_ = job.image;
    } else {
      session_.reset();
    }
    AskOptions ask = ask_options(options_.answer);
    ask.masks_expected = true;
    if (!options_.force_answer.empty()) ask.forced_answer = session_.answer_ids(options_.force_answer);
    AnswerTrace trace;
    if (!options_.dump.empty()) ask.trace = &trace;
    const Answer answer = session_.ask(job.prompt, ask);
    session_.require_intact();
    write(job, answer, trace);
  }

 private:
  void write(const Job& job, const Answer& answer, const AnswerTrace& trace) const {
    WrittenAnswer written = write_answer(job.id, image_, answer, session_,
                                         {.folder = options_.output,
                                          .overlay = !options_.no_overlay,
                                          .logits = options_.logits,
                                          .polygons = options_.polygons});
    if (!options_.dump.empty()) write_safetensors(options_.dump, trace);
    nlohmann::ordered_json record{{"id", job.id}, {"request", request_record(job, options_)}};
    record.update(written.record);
    const std::string line = json_line(record);
    const std::filesystem::path path = record_path(job, options_);
    write_file(path, line);
    if (options_.json)
      std::fputs(line.c_str(), stdout);
    else
      std::fputs(("Image    " + printable(job.image, std::string::npos) + "\nQuestion " +
                  printable(job.prompt, std::string::npos) + "\n" + answer_in_words(answer, written) + "Record   " +
                  path.string() + "\n")
                     .c_str(),
                 stdout);
    std::fflush(stdout);
  }

  ModelSession& session_;
  const SegmentOptions& options_;
  Image image_;
  std::string current_image_;
};

/// Several jobs: a failing one does not stop the others.
/// @param all  number of jobs, those included that an earlier run has answered
void run_all(JobRunner& runner, const std::vector<Job>& jobs, std::size_t all) {
  Progress progress("answered", jobs.size());
  std::size_t failed = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    progress.update(i, jobs[i].id);
    try {
      runner.run(jobs[i]);
    } catch (const Error& error) {
      ++failed;
      print_error(jobs[i].id + ": " + error.what());
    }
  }
  progress.update(jobs.size());
  if (failed > 0) {
    print_error(std::to_string(failed) + " of " + std::to_string(all) + " jobs failed; the same command retries them");
    throw CLI::RuntimeError(static_cast<int>(ExitCode::incomplete));
  }
}

void segment(const SegmentOptions& options) {
  std::vector<Job> jobs = collect_jobs(options);
  const std::size_t all = jobs.size();
  (void)ask_options(options.answer);  // wrong options are found before the model is loaded
  if (all > 1 && !options.dump.empty())
    throw InputError("--dump", found_expected(std::to_string(all) + " jobs", "one: a dump holds one answer"));
  if (all == 1) (void)read_image(jobs.front().image);
  jobs = jobs_left(std::move(jobs), options);
  if (jobs.empty()) return;
  Stopwatch watch;
  const std::unique_ptr<ModelSession> session = open_model(options.model);
  keep_images(*session, options.memory);
  const double load_seconds = watch.lap();
  JobRunner runner(*session, options);
  if (all == 1)
    runner.run(jobs.front());
  else
    run_all(runner, jobs, all);
  if (!options.json)
    std::fputs(("Loaded   in " + duration(load_seconds) + "; peak memory " + bytes(peak_memory()) + "\n").c_str(),
               stdout);
}

}  // namespace

void add_segment_command(CLI::App& app) {
  auto options = std::make_shared<SegmentOptions>();
  CLI::App& command = *app.add_subcommand("segment", "Answer a question about images with text and masks");
  command.add_option("--image", options->images, "image files or patterns; PNG, JPEG, WebP, BMP")->group("Question");
  command.add_option("--prompt", options->prompt, "the question")->group("Question");
  command.add_option("--jobs", options->jobs, "JSONL file of {\"image\", \"prompt\", \"id\"} objects")
      ->group("Question");
  add_model_options(command, options->model);
  add_image_memory_options(command, options->memory);
  add_answer_options(command, options->answer);
  command.add_option("--output", options->output, "folder for masks, overlay and record")
      ->capture_default_str()
      ->group("Output");
  command.add_flag("--json", options->json, "print the records, one line each, and nothing else")->group("Output");
  command.add_flag("--logits", options->logits, "also write the raw mask logits (safetensors)")->group("Output");
  command.add_flag("--polygons", options->polygons, "also put COCO polygons into the record")->group("Output");
  command.add_flag("--no-overlay", options->no_overlay, "do not draw the overlay picture")->group("Output");
  command.add_flag("--overwrite", options->overwrite, "answer jobs anew that an earlier run has answered")
      ->group("Output");
  command.add_option("--dump", options->dump, "write the tensors of every level of the model to this safetensors file")
      ->group("Measurement");
  command.add_option("--force-answer", options->force_answer, "make the model say this text, for measurements")
      ->group("Measurement");
  command.footer(
      "Examples:\n"
      "  lisa segment --model LISA-7B-v1 --vision-tower clip-vit-large-patch14 --image kitchen.jpg \\\n"
      "      --prompt \"What holds the hot drink? Please output segmentation mask.\" --output out\n"
      "  lisa segment --model LISA-7B-v1 --image 'photos/*.jpg' --prompt \"Please segment the dog.\" --json\n"
      "Several images or a job list can be resumed: the same command skips what has a record in the output folder.");
  command.callback([options] { segment(*options); });
}

}  // namespace lisa::program
