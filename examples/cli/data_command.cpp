#include "data_command.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "exit_code.hpp"
#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/check_data_set.hpp"
#include "lisa/data/contact_sheet.hpp"
#include "lisa/data/find_data_sets.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/data/pick_some.hpp"
#include "lisa/data/tabletop/write_tabletop.hpp"
#include "lisa/image/write_png.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

struct DataOptions {
  std::string data;
  std::vector<std::string> sets;
  bool training = false;
  std::uint64_t seed = 0;
  // check
  int threads = 2;
  bool json = false;
  // show
  std::string output = "sheet.png";
  std::size_t count = 12;
  ContactSheet sheet;
};

/// The sets asked for, or all that the folder holds.
std::vector<FoundDataSet> chosen_sets(const DataOptions& options) {
  const Purpose purpose = options.training ? Purpose::training : Purpose::evaluation;
  std::vector<FoundDataSet> sets;
  for (const std::string& name : options.sets) {
    // A set without masks is trained on alone.
    sets.push_back({options.data, name, name.starts_with("vqa|") ? Purpose::training : purpose});
  }
  if (sets.empty()) sets = find_data_sets(options.data);
  if (options.training && options.sets.empty())
    for (FoundDataSet& set : sets) set.purpose = Purpose::training;
  if (sets.empty())
    throw InputError(printable(options.data), "data",
                     "found no data set, expected a JSON-lines file or one of LISA's layouts");
  return sets;
}

std::string name_of(const FoundDataSet& set) {
  return set.name.empty() ? printable(set.where.filename().string()) : printable(set.name);
}

std::string two_digits(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", value);
  return text.data();
}

/// A report as people read it.
std::string in_words(const DataReport& report, const std::string& name) {
  std::string text = name + ": " + std::to_string(report.readable) + " of " + std::to_string(report.samples) +
                     " samples can be read, " + std::to_string(report.dialogues) + " conversations, " +
                     std::to_string(report.questions) + " questions, " + std::to_string(report.masks) + " masks\n";
  if (report.readable > 0)
    text += "  images of " + two_digits(static_cast<double>(report.smallest_image) / 1e6) + " to " +
            two_digits(static_cast<double>(report.largest_image) / 1e6) + " megapixels\n";
  if (report.masks > 0)
    text += "  masks cover " + two_digits(100 * report.foreground) + " % of their image, the smallest " +
            std::to_string(report.smallest_mask) + " pixels; " + std::to_string(report.empty_masks) + " are empty\n";
  if (report.groups.size() > 1 || (report.groups.size() == 1 && !report.groups.begin()->first.empty())) {
    text += "  conversations by group:";
    for (const auto& [group, count] : report.groups)
      text += " " + (group.empty() ? "(none)" : printable(group)) + " " + std::to_string(count);
    text += "\n";
  }
  if (!report.notes.empty()) text += report.notes.report("notes") + "\n";
  if (!report.defects.empty()) text += report.defects.report("defects") + "\n";
  return text;
}

nlohmann::ordered_json in_json(const DataReport& report, const std::string& name) {
  return {{"set", name},
          {"samples", report.samples},
          {"readable", report.readable},
          {"conversations", report.dialogues},
          {"questions", report.questions},
          {"masks", report.masks},
          {"empty_masks", report.empty_masks},
          {"ignored_masks", report.ignored_masks},
          {"foreground", report.foreground},
          {"smallest_mask", report.smallest_mask},
          {"smallest_image", report.smallest_image},
          {"largest_image", report.largest_image},
          {"groups", report.groups},
          {"notes", report.notes.count()},
          {"defects", report.defects.count()},
          {"findings", report.notes.report("notes") + "\n" + report.defects.report("defects")}};
}

/// Whether the set can be used as it is. Prints its report.
bool check_one(const FoundDataSet& set, const DataOptions& options) {
  const std::string name = name_of(set) + (set.purpose == Purpose::training ? " (training)" : "");
  const auto print = [&](const DataReport& report) {
    const std::string text = options.json ? in_json(report, name).dump() + "\n" : in_words(report, name);
    std::fputs(text.c_str(), stdout);
    return report.defects.empty();
  };
  DataReport unopened;
  try {
    const OpenedDataSet opened = open_data_set(set.where, set.name, set.purpose, {.ignored_is_background = false});
    Progress progress("checked " + name, opened.data_set.size);
    return print(check_data_set(opened, {.threads = options.threads,
                                         .seed = options.seed,
                                         .progress = [&](std::size_t done) { progress.update(done); }}));
  } catch (const Error& error) {
    unopened.name = set.name;
    unopened.defects.add(error.what());
  }
  return print(unopened);
}

void check(const DataOptions& options) {
  bool usable = true;
  for (const FoundDataSet& set : chosen_sets(options)) usable = check_one(set, options) && usable;
  if (!usable) throw CLI::RuntimeError(static_cast<int>(ExitCode::format));
}

void show(const DataOptions& options) {
  const std::vector<FoundDataSet> sets = chosen_sets(options);
  if (sets.size() > 1) {
    std::string names;
    for (const FoundDataSet& set : sets) names += "\n  " + name_of(set);
    throw InputError("--set", found_expected("several data sets", "one of them:" + names));
  }
  const OpenedDataSet opened = open_data_set(sets[0].where, sets[0].name, sets[0].purpose);
  for (const std::string& warning : opened.warnings) print_warning(warning);
  const DataSet& set = opened.data_set;
  Random random{options.seed};
  std::vector<std::size_t> chosen = pick_some(set.size, std::min(options.count, set.size), random);
  std::sort(chosen.begin(), chosen.end());
  std::vector<Sample> samples;
  for (const std::size_t index : chosen) {
    Random own{options.seed, index};
    try {
      samples.push_back(set.read(index, own));
    } catch (const Error& error) {
      print_warning("sample " + std::to_string(index) + " is left out: " + error.what());
    }
  }
  if (samples.empty()) throw InputError(printable(set.name), "found no sample that can be read, expected one at least");
  write_png(options.output, contact_sheet(samples, options.sheet));
  std::fputs(("Wrote " + std::to_string(samples.size()) + " samples of " + name_of(sets[0]) + " to " +
              printable(options.output) + "\n")
                 .c_str(),
             stdout);
}

void add_common(CLI::App& command, const std::shared_ptr<DataOptions>& options) {
  command.add_option("data", options->data, "folder in the original's layout, or a JSON-lines file")->required();
  command
      .add_option("--set", options->sets,
                  "set within the folder: \"ReasonSeg|val\", \"refcoco|unc|val\", \"ade20k|validation\", "
                  "\"vqa|llava_instruct_150k\" ...; none takes all that are found; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--training", options->training, "as training draws from it, not as evaluation asks");
  command.add_option("--seed", options->seed, "of what is left to chance")->capture_default_str();
}

struct TabletopOptions {
  std::string output;
  std::size_t training = 1000;
  std::size_t validation = 200;
  std::string split = "scenes";
  int questions = 3;
  int side = 96;
  std::uint64_t seed = 1;
};

void write_world(const TabletopOptions& options) {
  TabletopSettings training;
  training.scene.side = options.side;
  training.style.naming_answers = true;
  training.questions = options.questions;
  training.seed = options.seed;
  training.scenes = options.training;
  TabletopSettings validation = training;
  validation.scenes = options.validation;
  validation.split = tabletop_split_of(options.split);
  validation.shares = tabletop_mask_shares();
  write_tabletop(options.output, training, validation);
  std::fputs(("Wrote " + std::to_string(options.training) + " scenes for training and " +
              std::to_string(options.validation) + " for validation to " + printable(options.output) +
              "; own layout: " + printable((std::filesystem::path(options.output) / "tabletop").string()) + "\n")
                 .c_str(),
             stdout);
}

void add_tabletop_command(CLI::App& data) {
  const auto options = std::make_shared<TabletopOptions>();
  CLI::App& command = *data.add_subcommand(
      "tabletop", "Write scenes of the built-in world with questions, in every layout that LISA is trained on");
  command.add_option("output", options->output, "new or empty folder")->required();
  command.add_option("--training", options->training, "scenes of the training splits")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command.add_option("--validation", options->validation, "scenes of the validation splits")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command.add_option("--split", options->split, "what validation is held out by: scenes, combinations or paraphrases")
      ->capture_default_str();
  command.add_option("--questions", options->questions, "about a scene, at most")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_option("--side", options->side, "of a picture, pixels")->capture_default_str();
  command.add_option("--seed", options->seed, "of what is left to chance")->capture_default_str();
  command.footer(
      "Example:\n  lisa data tabletop world --training 2000 && lisa data show world --set \"ReasonSeg|val\"");
  command.callback([options] { write_world(*options); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Check data sets, look at them, make some");
  data->require_subcommand(1);

  const auto check_options = std::make_shared<DataOptions>();
  CLI::App* checked = data->add_subcommand("check", "Read every sample of data sets and report all that is wrong");
  add_common(*checked, check_options);
  checked->add_option("--threads", check_options->threads, "samples read at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  checked->add_flag("--json", check_options->json, "print a line of JSON for each set");
  checked->footer(
      "Examples:\n  lisa data check own.jsonl\n  lisa data check dataset --set \"ReasonSeg|train\"\n"
      "The exit code is 0 when every sample of every set can be used, 4 otherwise.");
  checked->callback([check_options] { check(*check_options); });

  const auto show_options = std::make_shared<DataOptions>();
  CLI::App* shown = data->add_subcommand("show", "Draw some samples of a data set with their masks into one picture");
  add_common(*shown, show_options);
  shown->add_option("--output,-o", show_options->output, "PNG file")->capture_default_str();
  shown->add_option("--count", show_options->count, "samples, drawn by chance")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  shown->add_option("--columns", show_options->sheet.columns, "samples side by side")
      ->capture_default_str()
      ->check(CLI::Range(1, 32));
  shown->add_option("--width", show_options->sheet.cell_width, "of a sample in the picture, pixels")
      ->capture_default_str()
      ->check(CLI::Range(320, 4096));
  shown->footer("Example:\n  lisa data show own.jsonl --output sheet.png --count 9");
  shown->callback([show_options] { show(*show_options); });

  add_tabletop_command(*data);
}

}  // namespace lisa::program
