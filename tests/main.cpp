// Test data is named relative to tests/, so that a compiled test is the same in every clone and compiler caches find
// it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <filesystem>

int main(int argc, char** argv) {
  std::filesystem::current_path(LISA_TEST_FOLDER);
  return doctest::Context(argc, argv).run();
}
