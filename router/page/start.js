// Loads the page's script and all that it is made of. A router that is started again just then leaves some of it
// unanswered, which a browser does not ask for again: without this the page would wait for ever.

const PAUSE = 1000; // milliseconds

async function load() {
  for (;;) {
    try {
      await import("./page.js");
      return;
    } catch (error) {
      console.error(error); // also one of the script itself, which comes again and again
      const connection = document.getElementById("connection");
      connection.dataset.state = "lost";
      connection.textContent = "The page cannot be loaded; trying again";
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

load();
