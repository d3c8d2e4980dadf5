// torch-free
// Recordings of GPUs (./dev gpu-test --record FILE) against the emulator. Those of tests/golden/warp_operations are
// held against it whenever there are any; that a wrong one would be noticed is shown with recordings of the emulator's
// own.
#include "warp_recording.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

//
#include <doctest/doctest.h>

using namespace simt;

namespace {

/// What in a folder's recordings is not what the emulator does.
std::vector<std::string> disagreements(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  if (!std::filesystem::exists(folder)) return found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".txt") continue;
    const WarpRecording recording = read_recording(entry.path().string());
    for (const WarpDifference& difference : differences(recording))
      if (!difference.agrees())
        found.push_back(entry.path().filename().string() + " (" + recording.origin + "): " + difference.operation);
  }
  return found;
}

WarpRecording of_the_emulator() {
  WarpRecording recording = random_operands();
  run_twins(recording);
  return recording;
}

/// A folder of its own with the emulator's recording, as text that a test changes.
struct Folder {
  std::filesystem::path path;

  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "lisa-warp-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
    write_recording(file(), of_the_emulator());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] std::string file() const { return (path / "gpu.txt").string(); }
  [[nodiscard]] std::string text() const {
    std::ifstream stream(file());
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void replace(const std::string& text) const { std::ofstream(file()) << text; }
};

}  // namespace

TEST_CASE("simt: the recordings of GPUs that are committed are what the emulator does") {
  const std::vector<std::string> found = disagreements(LISA_WARP_RECORDINGS);
  for (const std::string& line : found) MESSAGE(line);
  CHECK(found.empty());
}

TEST_CASE("simt: a recording is read as it was written") {
  const Folder folder;
  const WarpRecording written = of_the_emulator(), found = read_recording(folder.file());
  CHECK(found.origin == "the emulator");
  CHECK(std::memcmp(found.in, written.in, sizeof found.in) == 0);
  CHECK(std::memcmp(found.out, written.out, sizeof found.out) == 0);
  CHECK(disagreements(folder.path).empty());
}

TEST_CASE("simt: one damaged value of a recording is noticed, whichever result it is") {
  const WarpRecording sound = of_the_emulator();
  constexpr std::size_t words = warp_lanes * sizeof(WarpOutput) / sizeof(std::uint32_t);
  for (std::size_t word = 0; word < words; ++word) {
    WarpRecording damaged = sound;
    std::uint32_t bits;
    auto* const place = reinterpret_cast<std::byte*>(damaged.out) + word * sizeof bits;
    std::memcpy(&bits, place, sizeof bits);
    bits ^= 0x40000000;  // of a float: its exponent's highest bit
    std::memcpy(place, &bits, sizeof bits);
    const std::vector<WarpDifference> all = differences(damaged);
    CHECK(std::count_if(all.begin(), all.end(), [](const WarpDifference& d) { return !d.agrees(); }) == 1);
  }
}

TEST_CASE("simt: one damaged digit of a recording's file is noticed") {
  const Folder folder;
  std::string text = folder.text();
  char& last_digit = text[text.size() - 2];  // of lane 31's ballot
  last_digit = last_digit == '0' ? '1' : '0';
  folder.replace(text);
  CHECK(disagreements(folder.path) == std::vector<std::string>{"gpu.txt (the emulator): ballot"});
}

TEST_CASE("simt: a file that is no recording is refused with its place") {
  const Folder folder;
  const std::string sound = folder.text();
  const auto refused = [&](const std::string& text, const std::string& words) {
    folder.replace(text);
    try {
      (void)read_recording(folder.file());
      FAIL("not refused: ", words);
    } catch (const std::runtime_error& error) {
      CHECK_MESSAGE(std::string(error.what()).find(folder.file() + ": " + words) == 0, error.what());
    }
  };
  const std::size_t second_line = sound.find('\n') + 1, third_line = sound.find('\n', second_line) + 1;
  const std::size_t last_word = third_line - 9;  // of lane 0
  refused("", "cannot be read");
  refused(sound.substr(0, third_line), "line 3: expected lane 1");
  refused(sound.substr(0, second_line) + sound.substr(third_line), "line 2: expected lane 0");
  refused(sound + "32\n", "line 34: expected the end");
  refused(std::string(sound).replace(last_word, 1, "x"), "line 2: found \"x");
  refused(std::string(sound).erase(last_word - 1, 9), "line 2: expected 35 words");
  refused(std::string(sound).insert(last_word, "00000000 "), "line 2: expected 35 words");
  refused(std::string(sound).erase(last_word, 1), "line 2: found \"");
  std::filesystem::remove(folder.file());
  CHECK_THROWS_AS((void)read_recording(folder.file()), std::runtime_error);
}
