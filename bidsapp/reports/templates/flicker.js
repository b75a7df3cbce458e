// Images of the same region are shown one at a time: by buttons, or first and last alternately.
for (const figure of document.querySelectorAll("figure.flicker")) {
  const layers = [...figure.querySelectorAll(".layer")];
  const choices = document.createElement("div");
  choices.className = "choices";
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.setAttribute("aria-pressed", "false"); };
  const show = (index) => layers.forEach((layer, i) => {
    layer.classList.toggle("shown", i === index);
    choices.children[i].setAttribute("aria-pressed", String(i === index));
  });
  layers.forEach((layer, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = layer.querySelector(".note").textContent;
    button.addEventListener("click", () => { stop(); show(index); });
    choices.append(button);
  });
  const play = document.createElement("button");
  play.type = "button";
  play.textContent = "Flicker";
  play.title = "Alternate between the first and the last image";
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    let first = false;
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => { show(first ? 0 : layers.length - 1); first = !first; }, 600);
  });
  choices.append(play);
  figure.prepend(choices);
  figure.classList.add("live");
  stop();
  show(layers.length - 1);
}
