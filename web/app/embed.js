/**
 * The frame's side of EdgeNet on somebody else's page: a Hub behind one MessagePort. Runs in embed.html, nowhere else.
 * Any page may use it unless embed.html's meta tag `edgenet-embedders` names origins. What the frame stores is split by the browser
 * per top-level site; addresses (of trust.json above all) are always the frame's own, never the page's.
 */
import { serveFrame } from "../sdk/frame-server.js";

serveFrame();
