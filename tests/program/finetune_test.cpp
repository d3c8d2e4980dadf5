// The user's story of docs/finetune.md: its commands as they stand there, on thirty pictures of plates with dents.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/encode_png.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/write_png.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::ProgramRun;
using lisa::test::read_text;
using lisa::test::TempDir;
using lisa::test::write_text;

namespace {

namespace fs = std::filesystem;

/// A plate on a table, with a dark dent somewhere on it and a speck beside the plate.
struct Plate {
  Image image;
  std::vector<std::uint8_t> dent;  ///< [H, W], 255 where it is
};

Plate draw_plate(Random& random) {
  constexpr int width = 128, height = 96;
  Plate plate{make_image({height, width}), std::vector<std::uint8_t>(std::size_t{width} * height)};
  const double x0 = random.uniform(50, 78), y0 = random.uniform(42, 54), radius = random.uniform(36, 40);
  const double angle = random.uniform(0, 6.28), distance = random.uniform(0, 20);
  const double dent_x = x0 + distance * std::cos(angle), dent_y = y0 + distance * std::sin(angle);
  const double dent_radius = random.uniform(8, 12);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const bool on_plate = std::hypot(x - x0, y - y0) < radius;
      const bool dent = std::hypot(x - dent_x, 1.4 * (y - dent_y)) < dent_radius;
      const double light = (on_plate ? (dent ? 70 : 200) : 120) + random.uniform(-8, 8) + 0.2 * x;
      std::uint8_t* const pixel = plate.image.row(y) + 3 * x;
      pixel[0] = static_cast<std::uint8_t>(light);
      pixel[1] = static_cast<std::uint8_t>(on_plate ? light : 0.8 * light);
      pixel[2] = static_cast<std::uint8_t>(on_plate ? light : 0.5 * light);
      plate.dent[static_cast<std::size_t>(y * width + x)] = dent ? 255 : 0;
    }
  return plate;
}

void write_plates(const fs::path& folder, const std::string& split, int count, Random& random) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    const std::string stem = split + "-" + (i < 10 ? "0" : "") + std::to_string(i) + ".png";
    const Plate plate = draw_plate(random);
    write_png(folder / "images" / stem, plate.image);
    const auto mask = encode_grey_png(plate.dent, plate.image.size());
    write_text(folder / "masks" / stem, {reinterpret_cast<const char*>(mask.data()), mask.size()});
    lines += Json{{"image", "images/" + stem},
                  {"question", "Where is the dent? Please output segmentation mask."},
                  {"answer", "It is [SEG]."},
                  {"masks", {"masks/" + stem}}}
                 .dump() +
             "\n";
  }
  write_text(folder / (split + ".jsonl"), lines);
}

/// The lines of a page's sh blocks that begin with "lisa ".
std::vector<std::string> commands_of(const std::string& page) {
  std::vector<std::string> commands;
  std::istringstream lines(page);
  bool shell = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```"))
      shell = line == "```sh";
    else if (shell)
      commands.push_back(line);
  }
  return commands;
}

/// Words of a command, "quoted ones" whole.
std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (const char c : command + " ")
    if (c == '"')
      quoted = !quoted;
    else if (c != ' ' || quoted)
      word += c;
    else if (!word.empty()) {
      words.push_back(word);
      word.clear();
    }
  return words;
}

double giou_of(const fs::path& summary, const std::string& method) {
  const Json json = read_json(summary);
  for (const Json& result : json.at("results"))
    if (result.at("method") == method && result.at("group").is_null()) return result.at("giou");
  FAIL("no result of " << method);
  return 0;
}

}  // namespace

TEST_CASE("the commands of docs/finetune.md make a model that finds the dents") {
  const fs::path root = fs::absolute(fs::path(LISA_TEST_DATA) / "..");
  const std::vector<std::string> commands = commands_of(read_text(root / "docs" / "finetune.md"));
  REQUIRE(commands.size() == 7);
  const TempDir folder;
  fs::create_directories(folder / "own" / "images");
  fs::create_directories(folder / "own" / "masks");
  fs::create_directory_symlink(root / "models", folder / "models");
  Random random({30});
  write_plates(folder / "own", "train", 24, random);
  write_plates(folder / "own", "val", 6, random);

  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  for (const std::string& command : commands) {
    CAPTURE(command);
    std::vector<std::string> words = words_of(command);
    REQUIRE(words.front() == "lisa");
    words.erase(words.begin());
    const ProgramRun run = lisa::test::run_program(LISA_TINY_PROGRAM, words);
    CHECK_MESSAGE(run.exit_code == 0, run.err);
  }
  fs::current_path(before);

  for (const char* const method : {"teacher_forced", "free_running"}) {
    CAPTURE(method);
    const double first = giou_of(folder / "before" / "summary.json", method);
    const double then = giou_of(folder / "after" / "summary.json", method);
    MESSAGE("gIoU " << first << " before, " << then << " after");
    CHECK(then > first + 0.2);
    CHECK(then > 0.5);
  }
  CHECK(fs::exists(folder / "after" / "report.html"));
  CHECK(fs::exists(folder / "own-sheet.png"));
  CHECK(!fs::is_empty(folder / "answers"));
}
