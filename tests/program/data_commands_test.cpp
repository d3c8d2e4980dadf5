// torch-free
#include <filesystem>
#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/image/write_png.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

test::ProgramRun data(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "data");
  return test::run_program(LISA_PROGRAM, arguments);
}

/// A folder with own data of three images, one of which can be broken.
struct OwnData {
  test::TempDir folder;
  std::string file = (folder / "own.jsonl").string();

  OwnData() {
    std::string lines;
    for (const char* name : {"a.png", "b.png", "c.png"}) {
      write_png(folder / name, make_image({30, 40}));
      lines += R"({"image": ")" + std::string(name) +
               R"(", "question": "Where is the cup?", "answer": "It is [SEG].", "group": "name", )" +
               R"("masks": [[[0, 0, 20, 0, 20, 15, 0, 15]]]})" + "\n";
    }
    test::write_text(file, lines);
  }
};

}  // namespace

TEST_CASE("data check counts a data set, or tells all that is wrong with it") {
  const OwnData own;
  const test::ProgramRun good = data({"check", own.file});
  CHECK(good.exit_code == 0);
  CHECK(good.out.find("own.jsonl: 3 of 3 samples can be read, 3 conversations, 3 questions, 3 masks") == 0);
  CHECK(good.out.find("masks cover 25.00 %") != std::string::npos);
  CHECK(good.out.find("name 3") != std::string::npos);

  test::write_text(own.folder / "b.png", "no picture");
  fs::remove(own.folder / "c.png");
  const test::ProgramRun broken = data({"check", own.folder.path().string(), "--threads", "1"});
  CHECK(broken.exit_code == 4);
  CHECK(broken.out.find("1 of 3 samples") != std::string::npos);
  CHECK(broken.out.find("2 defects") != std::string::npos);
  CHECK(broken.out.find("b.png") != std::string::npos);
  CHECK(broken.out.find("c.png") != std::string::npos);
  const test::ProgramRun json = data({"check", own.file, "--json"});
  CHECK(json.exit_code == 4);
  const Json report = parse_json(json.out, "report");
  CHECK(report.at("samples") == 3);
  CHECK(report.at("defects") == 2);

  test::write_text(own.file, "{\n");
  const test::ProgramRun unread = data({"check", own.file});
  CHECK(unread.exit_code == 4);
  CHECK(unread.out.find("line 1") != std::string::npos);
}

TEST_CASE("data show draws samples into one picture") {
  const OwnData own;
  const std::string sheet = (own.folder / "sheet.png").string();
  const test::ProgramRun run =
      data({"show", own.file, "--output", sheet, "--count", "2", "--columns", "2", "--width", "320"});
  CHECK(run.exit_code == 0);
  CHECK(run.out.find("Wrote 2 samples") == 0);
  CHECK(read_image(sheet).width == 640);
  fs::remove(own.folder / "a.png");
  const test::ProgramRun some = data({"show", own.file, "--output", sheet, "--width", "320"});
  CHECK(some.exit_code == 0);
  CHECK(some.out.find("Wrote 2 samples") == 0);
  CHECK(some.err.find("a.png") != std::string::npos);
}

TEST_CASE("data commands refuse what they cannot use, in words") {
  const OwnData own;
  CHECK(data({"check", "nowhere"}).exit_code == 3);
  const test::ProgramRun unknown = data({"check", own.folder.path().string(), "--set", "imagenet"});
  CHECK(unknown.exit_code == 4);
  CHECK(unknown.out.find("refcoco|unc|val") != std::string::npos);
  CHECK(data({"show", own.folder.path().string(), "--set", "ReasonSeg|val"}).exit_code == 3);
  CHECK(data({"show", own.file, "--width", "10"}).exit_code == 2);
  const test::TempDir empty;
  const test::ProgramRun none = data({"check", empty.path().string()});
  CHECK(none.exit_code == 6);
  CHECK(none.err.find("no data set") != std::string::npos);
  const test::ProgramRun unwritable = data({"show", own.file, "--output", (empty / "no" / "sheet.png").string()});
  CHECK(unwritable.exit_code == 3);
  CHECK(unwritable.err.find("sheet.png") != std::string::npos);
}
