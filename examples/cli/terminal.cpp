#include "terminal.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace lisa::program {
namespace {

constexpr double seconds_between_plain_lines = 10;

void print_labelled(std::string_view label, std::string_view colour, std::string_view message) {
  const bool colours = stderr_is_terminal();
  const std::string text = (colours ? std::string(colour) + std::string(label) + "\x1b[0m" : std::string(label)) +
                           ": " + std::string(message) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string format(const char* pattern, double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, value);
  return buffer.data();
}

}  // namespace

bool stderr_is_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr && term != nullptr &&
         std::string_view(term) != "dumb";
}

void print_error(std::string_view message) { print_labelled("error", "\x1b[1;31m", message); }
void print_warning(std::string_view message) { print_labelled("warning", "\x1b[1;33m", message); }

std::string bytes(double count) {
  constexpr std::array<const char*, 5> units{"%.0f B", "%.1f kB", "%.1f MB", "%.2f GB", "%.2f TB"};
  std::size_t unit = 0;
  while (count >= 1000 && unit + 1 < units.size()) {
    count /= 1000;
    ++unit;
  }
  return format(units[unit], count);
}

StatusLine::StatusLine() : terminal_(stderr_is_terminal()) {}

StatusLine::~StatusLine() { clear(); }

void StatusLine::clear() {
  if (line_open_) std::fputs("\r\x1b[K", stderr);
  line_open_ = false;
}

void StatusLine::update(std::string_view text, bool last) {
  seconds_ += watch_.lap();
  if (terminal_) {
    std::fputs(("\r\x1b[K" + std::string(text)).c_str(), stderr);
    std::fflush(stderr);
    line_open_ = true;
  } else if (seconds_ >= next_line_ || last) {
    std::fputs((std::string(text) + "\n").c_str(), stderr);
    next_line_ = seconds_ + seconds_between_plain_lines;
  }
}

Progress::Progress(std::string what, std::size_t total) : what_(std::move(what)), total_(total) {}

std::string Progress::line(std::size_t done, std::string_view note) const {
  std::string text = what_ + " " + std::to_string(done) + "/" + std::to_string(total_);
  if (done > 0) {
    const double each = seconds_ / static_cast<double>(done);
    text += ", " + duration(each) + " each";
    if (done < total_) text += ", " + duration(each * static_cast<double>(total_ - done)) + " left";
  }
  if (!note.empty()) text += ": " + std::string(note);
  return text;
}

void Progress::update(std::size_t done, std::string_view note) {
  seconds_ += watch_.lap();
  status_.update(line(done, note), done == total_);
}

}  // namespace lisa::program
