/**
 * Given names that are seldom another word. English ones from the US Social Security Administration's "Top names over the last 100
 * years" (public domain); the others are common names of several countries, chosen by hand without a ranking. Left out: names that
 * are also words, months or places (Grace, Will, Mark, May, June, Jordan, Austin, Paris, Charlotte, Victoria).
 */
export const givenNames: ReadonlySet<string> = new Set(
  (
    'James Michael Robert John David William Richard Joseph Thomas Christopher Charles Daniel Matthew Anthony Donald Steven Andrew Paul ' +
    'Joshua Kenneth Kevin Brian Timothy Ronald Jason George Edward Jeffrey Ryan Jacob Nicholas Gary Eric Jonathan Stephen Larry Justin ' +
    'Scott Brandon Benjamin Samuel Gregory Alexander Patrick Raymond Jack Dennis Jerry Tyler Aaron Jose Adam Nathan Henry Zachary ' +
    'Douglas Peter Kyle Noah Ethan Jeremy Walter Keith Roger Terry Sean Gerald Carl Harold Dylan Arthur Lawrence Jesse Bryan Bruce ' +
    'Gabriel Joe Logan Alan Juan Albert Willie Elijah Wayne Randy Vincent Mason Roy Ralph Bobby Russell Philip Eugene Mary Patricia ' +
    'Jennifer Linda Elizabeth Barbara Susan Jessica Karen Sarah Lisa Nancy Sandra Ashley Emily Kimberly Betty Margaret Donna Michelle ' +
    'Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia Amy Kathleen Angela Dorothy Shirley Emma Brenda Nicole Pamela ' +
    'Samantha Anna Katherine Christine Debra Rachel Olivia Carolyn Maria Janet Heather Diane Catherine Julie Joyce Helen Kelly Lauren ' +
    'Christina Joan Judith Ruth Hannah Evelyn Andrea Megan Cheryl Jacqueline Madison Martha Gloria Teresa Janice Ann Sara Abigail ' +
    'Kathryn Sophia Frances Jean Judy Isabella Julia Denise Marie Danielle Theresa Beverly Diana Brittany Doris Kayla Alexis Lori Tiffany ' +
    'Hans Klaus Jürgen Wolfgang Günter Werner Horst Uwe Dieter Manfred Helmut Bernd Jens Torsten Stefan Matthias Lukas Felix Jonas Moritz ' +
    'Ursula Monika Petra Sabine Renate Helga Ingrid Brigitte Gisela Heike Katrin Anke Birgit Silke Jutta Lena Leonie Mia Greta Frieda ' +
    'Pierre Michel Philippe Alain Nicolas Christophe Laurent Thierry Julien François Jérôme Guillaume Olivier Étienne Benoît Mathieu ' +
    'Nathalie Isabelle Sylvie Françoise Valérie Céline Aurélie Élodie Chloé Camille Amélie Margaux Hélène Agnès Manon ' +
    'Antonio Manuel Francisco Javier Carlos Alejandro Pablo Sergio Jorge Luis Miguel Diego Álvaro Iván Rubén Joaquín Ramón Andrés ' +
    'Carmen Ana Isabel Dolores Pilar Josefa Lucía Marta Elena Cristina Rocío Beatriz Inés Ximena Guadalupe Alejandra Valentina ' +
    'Giuseppe Giovanni Francesco Luca Marco Alessandro Matteo Lorenzo Davide Andrea Stefano Giulia Chiara Francesca Alessandra Federica ' +
    'João Pedro Rafael Gustavo Thiago Rodrigo Fernanda Juliana Mariana Letícia Beatriz Inês Catarina Tiago Rui ' +
    'Jan Pieter Willem Johannes Sander Bram Daan Femke Sanne Anouk Lotte Marieke Joost Maarten ' +
    'Lars Anders Björn Erik Sven Karin Astrid Annika Mikael Johan Søren Mette Kirsten Ole Håkon Ingeborg Mikko Juhani Aino Päivi ' +
    'Jakub Piotr Krzysztof Andrzej Tomasz Agnieszka Katarzyna Małgorzata Ewa Zofia Pavel Tomáš Jiří Jana Petra Zuzana László István Ilona ' +
    'Ivan Sergei Dmitri Alexei Nikolai Vladimir Olga Tatiana Natalia Svetlana Ekaterina Irina Oleksandr Oksana ' +
    'Mehmet Mustafa Ahmet Ayşe Fatma Emre Elif Zeynep Yusuf Hüseyin Mohammed Muhammad Ahmed Ali Omar Hassan Fatima Aisha Layla Khadija ' +
    'Hiroshi Takashi Kenji Yuki Haruto Akira Sakura Yoko Keiko Naoko Wei Xiaoming Jing Mei Ling Minjun Jiwoo Seoyeon ' +
    'Raj Priya Amit Anjali Sanjay Deepak Sunita Ravi Arjun Kavita Rohan Neha Vikram Lakshmi Nguyen Linh Siti Putri ' +
    'Kwame Kofi Efua Ama Abena Chinedu Ngozi Oluwaseun Adebayo Amina Thabo Sipho Nomvula Wanjiru Akinyi'
  ).split(' '),
);
