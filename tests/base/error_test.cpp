// torch-free
#include "lisa/base/error.hpp"

#include <string>
#include <type_traits>

#include <doctest/doctest.h>

namespace {

template <class E>
E caught(void (*act)()) {
  try {
    act();
  } catch (const E& error) {
    return error;
  }
  FAIL("nothing was thrown");
  throw;
}

}  // namespace

TEST_CASE("what() reads file: place: message and leaves empty parts out") {
  const auto format =
      caught<lisa::FormatError>([] { throw lisa::FormatError("a.bin", "byte 7", "found 0, expected 1"); });
  CHECK(std::string(format.what()) == "a.bin: byte 7: found 0, expected 1");
  CHECK(format.file() == "a.bin");
  CHECK(format.place() == "byte 7");

  CHECK(std::string(lisa::IoError("a.bin", "", "no such file").what()) == "a.bin: no such file");
  CHECK(std::string(lisa::InputError("--image", "missing").what()) == "--image: missing");
  CHECK(std::string(lisa::InputError("", "missing").what()) == "missing");
  CHECK(lisa::InputError("jobs.jsonl", "line 3", "no prompt").file() == "jobs.jsonl");
}

TEST_CASE("every error carries its kind and is caught as Error") {
  const auto kind_of = [](auto error) {
    static_assert(std::is_base_of_v<lisa::Error, decltype(error)>);
    static_assert(std::is_base_of_v<std::runtime_error, decltype(error)>);
    return error.kind();
  };
  CHECK(kind_of(lisa::IoError("", "", "m")) == lisa::ErrorKind::io);
  CHECK(kind_of(lisa::FormatError("", "", "m")) == lisa::ErrorKind::format);
  CHECK(kind_of(lisa::MismatchError("", "", "m")) == lisa::ErrorKind::mismatch);
  CHECK(kind_of(lisa::InputError("", "m")) == lisa::ErrorKind::input);
  CHECK(kind_of(lisa::LimitError("", "", "m")) == lisa::ErrorKind::limit);
}

TEST_CASE("found_expected states both sides") {
  CHECK(lisa::found_expected("[2, 3]", "[3, 2]") == "found [2, 3], expected [3, 2]");
}

TEST_CASE("a report of defects") {
  lisa::Defects defects;
  CHECK(defects.empty());
  defects.add("first");
  CHECK_FALSE(defects.empty());

  SUBCASE("one stays on one line") { CHECK(defects.report("missing tensors") == "1 missing tensors: first"); }

  SUBCASE("several are listed in the order they came") {
    defects.add("second");
    CHECK(defects.report("missing tensors") == "2 missing tensors:\n  first\n  second");
  }

  SUBCASE("exactly as many as are shown leave no rest") {
    while (defects.count() < lisa::Defects::shown) defects.add("next");
    CHECK(defects.report("defects").find("more") == std::string::npos);
  }

  SUBCASE("beyond that the rest is counted") {
    while (defects.count() < lisa::Defects::shown + 5) defects.add("next");
    const std::string report = defects.report("defects");
    CHECK(report.starts_with("25 defects:\n  first\n"));
    CHECK(report.ends_with("\n  ... and 5 more"));
  }
}
