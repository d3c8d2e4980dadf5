#include "chat_command.hpp"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "answer_files.hpp"
#include "jobs.hpp"
#include "lisa/image/read_image.hpp"
#include "model_options.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

constexpr std::string_view commands =
    "  :image FILE   look at another image and start anew\n"
    "  :reset        start a new conversation about the same image\n"
    "  :help         show this\n"
    "  :quit         leave (or end the input)\n"
    "Anything else is a question. Masks are saved as turn_N_mask_K.png with an overlay.\n";

struct ChatOptions {
  ModelOptions model;
  ImageMemoryOptions memory;
  AnswerOptions answer;
  std::string image;
  std::string output = "lisa-chat";
};

/// The conversation at a terminal. A mistake is reported in a line and the conversation goes on.
class Chat {
 public:
  Chat(ModelSession& session, const ChatOptions& options) : session_(session), options_(options) {}

  void look_at(const std::string& path) {
    Image image = read_image(path);
    session_.set_image(image, EncoderStart::at_first_mask);
    image_ = std::move(image);
    std::cout << "Looking at " << printable(path, std::string::npos) << " (" << image_->width << "x" << image_->height
              << ")\n";
  }

  void run() {
    const bool shows_prompt = isatty(STDIN_FILENO) == 1;
    std::string line;
    while (true) {
      if (shows_prompt) std::cout << (image_ ? "> " : "(no image; :image FILE) > ") << std::flush;
      if (!std::getline(std::cin, line)) break;
      try {
        if (!obey(line)) break;
      } catch (const Error& error) {
        std::cout << std::flush;
        print_error(error.what());
      }
    }
  }

 private:
  /// False when the chat is over.
  bool obey(const std::string& line) {
    constexpr std::string_view blanks = " \t\r";
    const std::size_t begin = line.find_first_not_of(blanks);
    if (begin == std::string::npos) return true;
    const std::string text = line.substr(begin, line.find_last_not_of(blanks) - begin + 1);
    if (text == ":quit") return false;
    if (text == ":help") {
      std::cout << commands;
    } else if (text == ":reset") {
      session_.reset();
      std::cout << "New conversation.\n";
    } else if (text.starts_with(":image ")) {
      look_at(text.substr(text.find_first_not_of(blanks, 7)));
    } else if (text.starts_with(':')) {
      throw InputError("command", found_expected(quoted(text), "one of :image FILE, :reset, :help, :quit"));
    } else {
      ask(text);
    }
    return true;
  }

  void ask(const std::string& question) {
    if (!image_) throw InputError("image", "found none, expected :image FILE before a question");
    AskOptions options = ask_options(options_.answer);
    options.on_text = [](std::string_view text) {
      std::cout << printable(text, std::string::npos) << std::flush;
      return true;
    };
    const Answer answer = session_.ask(question, options);
    session_.require_intact();
    std::cout << "\n";
    const WrittenAnswer written =
        write_answer("turn_" + std::to_string(++turn_), *image_, answer, session_, {.folder = options_.output});
    for (std::size_t i = 0; i < answer.masks.size(); ++i)
      std::cout << "  mask " << i << ": " << area(answer.masks[i].bits) << " pixels  " << written.masks[i] << "\n";
    if (!written.overlay.empty()) std::cout << "  overlay: " << written.overlay << "\n";
    std::cout << "  " << duration(answer.times.total()) << "\n";
  }

  ModelSession& session_;
  const ChatOptions& options_;
  std::optional<Image> image_;
  int turn_ = 0;
};

void chat(const ChatOptions& options) {
  (void)ask_options(options.answer);
  const std::unique_ptr<ModelSession> session = open_model(options.model);
  keep_images(*session, options.memory);
  Chat conversation(*session, options);
  if (!options.image.empty()) conversation.look_at(options.image);
  if (isatty(STDIN_FILENO) == 1) std::cout << commands;
  conversation.run();
}

}  // namespace

void add_chat_command(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App& command = *app.add_subcommand("chat", "Talk about images at a terminal, over several turns");
  command.add_option("--image", options->image, "image to begin with")->group("Question");
  add_model_options(command, options->model);
  add_image_memory_options(command, options->memory);
  add_answer_options(command, options->answer);
  command.add_option("--output", options->output, "folder for masks and overlays")
      ->capture_default_str()
      ->group("Output");
  command.footer("Example:\n  lisa chat --model LISA-7B-v1 --vision-tower clip-vit-large-patch14 --image kitchen.jpg");
  command.callback([options] { chat(*options); });
}

}  // namespace lisa::program
